/** Files, programs and instances. */

import { createHash, randomBytes } from 'node:crypto'
import { Skip, contains, equal, failure, holds, isRefused, said } from './cases.mjs'
import { CHANNEL, Group, plain } from './world.mjs'

const MIB = 1024 * 1024

export class Files extends Group {
  async store() {
    this.bytes = randomBytes(200_000)
    this.world.file = await this.world.store(this.bytes)
    equal(await this.world.status(this.world.file.item_hash), 'processed')
    return this.world.file.content.item_hash
  }

  async download() {
    const bytes = Buffer.from(await this.world.reader.downloadFile(this.world.file.content.item_hash))
    holds(bytes.equals(this.bytes), 'other bytes came')
    return `${bytes.length} bytes`
  }

  async storeALargeOne() {
    this.world.needsMoney()
    const bytes = randomBytes(30 * MIB)
    const stored = await this.world.store(bytes)
    const back = Buffer.from(await this.world.reader.downloadFile(stored.content.item_hash))
    holds(back.equals(bytes), 'other bytes came')
    return '30 MiB'
  }

  async storeWithMetadata() {
    const stored = await this.world.store(randomBytes(100), { metadata: { name: 'a name.txt' } })
    const read = await this.world.reader.getMessage(stored.item_hash)
    equal(read.content.metadata, { name: 'a name.txt' })
    return JSON.stringify(read.content.metadata)
  }

  /** The SDK stores known hashes of IPFS only. */
  async storeAHash() {
    const error = await failure(this.client.createStore({
      fileHash: this.world.file.content.item_hash, storageEngine: 'storage', channel: CHANNEL, sync: true,
    }))
    contains(said(error), 'You must choose ipfs to pin the file')
    return said(error)
  }

  async storeABuffer() {
    const stored = await this.world.store(null, { fileObject: Buffer.from('plain text') })
    const back = Buffer.from(await this.world.reader.downloadFile(stored.content.item_hash))
    equal(back.toString(), 'plain text')
    return stored.content.item_hash
  }

  /** The SDK hashes the bytes, but sends them as text: no node can find that hash in what arrives. */
  async storeABinaryBuffer() {
    const refused = await failure(this.world.store(null, { fileObject: Buffer.from([0xff, 0xfe, 0x80, 0x00]) }))
    contains(said(refused), '422')
    return `refused as by the reference: ${refused.name}`
  }

  async estimate() {
    this.world.needsMoney()
    const cost = await this.client.storeClient.getEstimatedCost({
      account: this.client.account, fileObject: new Blob(['x']), storageEngine: 'storage', estimated_size_mib: 100,
      payment: this.world.payment(),
    })
    holds(Number(cost.required_tokens) > 0, JSON.stringify(cost))
    return `${cost.cost ?? cost.required_tokens} ${cost.payment_type}`
  }

  async cost() {
    this.world.needsMoney()
    const cost = await this.client.storeClient.getCost(this.world.file.item_hash)
    holds(Number(cost.required_tokens) > 0, JSON.stringify(cost))
    return `${cost.required_tokens} ${cost.payment_type}`
  }

  async beToldOfAMissingOne() {
    const error = await failure(this.world.reader.downloadFile('0'.repeat(64)))
    contains(said(error), '404')
    return said(error)
  }

  async beToldOfLackingMoney() {
    const poor = this.world.stranger()
    return isRefused(poor.createStore({
      fileObject: new Blob([randomBytes(26 * MIB)]), storageEngine: 'storage', channel: CHANNEL, sync: true,
      payment: this.world.payment(),
    }))
  }
}

/** With tus-js-client, which is no part of the SDK. */
export class Resumable extends Group {
  async interruptAndResume() {
    const { Upload } = plain('tus-js-client')
    const bytes = randomBytes(3 * MIB + 17)
    const options = { endpoint: `${this.world.node}/api/v1/uploads`, chunkSize: MIB, retryDelays: null }
    const first = new Upload(bytes, options)
    await new Promise((resolve, reject) => {
      first.options.onError = reject
      first.options.onChunkComplete = () => first.abort().then(resolve)
      first.start()
    })
    const sent = []
    await new Promise((resolve, reject) => {
      const second = new Upload(bytes, {
        ...options, uploadUrl: first.url, onError: reject, onSuccess: resolve,
        onChunkComplete: (size) => sent.push(size),
      })
      second.start()
    })
    holds(sent.length > 0 && sent.reduce((sum, size) => sum + size, 0) < bytes.length, `sent again: ${sent}`)
    const hash = createHash('sha256').update(bytes).digest('hex')
    const back = Buffer.from(await this.world.reader.downloadFile(hash))
    holds(back.equals(bytes), 'other bytes came')
    return `the rest: ${sent.length} pieces`
  }
}

export class Ipfs extends Group {
  async store() {
    this._needs(await fetch(`${this.world.node}/api/v0/ipfs/add_json`, {
      method: 'POST', body: '{"a":1}', headers: { 'content-type': 'application/json' },
    }))
    this.bytes = randomBytes(600_000)
    const stored = await this.client.createStore({
      fileObject: new Blob([this.bytes]), storageEngine: 'ipfs', channel: CHANNEL, sync: true,
      payment: this.world.payment(),
    })
    equal(await this.world.status(stored.item_hash), 'processed')
    this.cid = stored.content.item_hash
    return this.cid
  }

  async download() {
    this._stored()
    const back = Buffer.from(await this.world.reader.downloadFile(this.cid))
    holds(back.equals(this.bytes), 'other bytes came')
    return `${back.length} bytes`
  }

  async pin() {
    this._stored()
    const pinned = await this.client.storeClient.pin({
      account: this.client.account, fileHash: this.cid, channel: CHANNEL, payment: this.world.payment(),
    })
    equal(await this.world.status(pinned.item_hash), 'processed')
    return pinned.item_hash
  }

  _needs(answer) {
    if (answer.status === 403) throw new Skip('this node has no IPFS yet (COMPATIBILITY.md)')
  }

  _stored() {
    if (!this.cid) throw new Skip('this node has no IPFS yet (COMPATIBILITY.md)')
  }
}

const CODE = 'async def app(scope, receive, send): ...\n'

export class Programs extends Group {
  async publish() {
    this.world.needsMoney()
    this.world.image = (await this.world.store(`an image ${this.world.tag}`)).item_hash
    const message = await this.client.createProgram({
      file: new Blob([`${CODE}# ${this.world.tag}\n`]), encoding: 'plain', storageEngine: 'storage', ...this._options(),
    })
    equal(await this.world.status(message.item_hash), 'processed')
    this.program = message
    return message.item_hash
  }

  async publishFromStoredCode() {
    this.world.needsMoney()
    const message = await this.client.createProgram({
      programRef: this.program.content.code.ref, encoding: 'plain', ...this._options(), metadata: { name: 'second' },
    })
    equal(await this.world.status(message.item_hash), 'processed')
    return message.item_hash
  }

  async cost() {
    this.world.needsMoney()
    const cost = await this.client.programClient.getCost(this.program.item_hash)
    holds(Number(cost.required_tokens) > 0, JSON.stringify(cost))
    return `${cost.required_tokens} ${cost.payment_type}, ${cost.detail?.length} lines`
  }

  async estimate() {
    this.world.needsMoney()
    const cost = await this.client.programClient.getEstimatedCost({
      account: this.client.account, programRef: this.program.content.code.ref, encoding: 'plain',
      estimated_size_mib: 100, ...this._options(),
    })
    holds(Number(cost.required_tokens) > 0, JSON.stringify(cost))
    return `${cost.required_tokens} ${cost.payment_type}`
  }

  async beToldOfLackingMoney() {
    this.world.needsMoney()
    const poor = this.world.stranger()
    return isRefused(poor.createProgram({
      programRef: this.program.content.code.ref, encoding: 'plain', ...this._options(), memory: 2048,
    }))
  }

  async forget() {
    this.world.needsMoney()
    await this.client.forget({ hashes: [this.program.item_hash], channel: CHANNEL, sync: true })
    equal(await this.world.status(this.program.item_hash), 'forgotten')
    return 'forgotten'
  }

  _options() {
    return {
      entrypoint: 'main:app', channel: CHANNEL, sync: true, memory: 128, runtime: this.world.image,
      metadata: { name: 'conformance' }, variables: { WHO: 'ü' }, payment: this.world.payment(), isPersistent: false,
      volumes: [{ mount: '/opt/data', ref: this.world.image, use_latest: true }],
    }
  }
}

export class Instances extends Group {
  async create() {
    this.world.needsMoney()
    this.instance = await this.client.createInstance({ ...this._options(), payment: this.world.credit() })
    equal(await this.world.status(this.instance.item_hash), 'processed')
    return this.instance.item_hash
  }

  async beRefusedToHoldTokens() {
    this.world.needsMoney()
    const options = { ...this._options(), payment: { chain: 'ETH', type: 'hold' } }
    return isRefused(this.client.createInstance(options))
  }

  async cost() {
    this.world.needsMoney()
    const cost = await this.client.instanceClient.getCost(this.instance.item_hash)
    holds(Number(cost.required_tokens) > 0, JSON.stringify(cost))
    return `${cost.required_tokens} ${cost.payment_type}`
  }

  async estimate() {
    this.world.needsMoney()
    const cost = await this.client.instanceClient.getEstimatedCost({
      ...this._options(), account: this.client.account, payment: this.world.credit(),
    })
    holds(Number(cost.required_tokens) > 0, JSON.stringify(cost))
    return `${cost.cost ?? cost.required_tokens} ${cost.payment_type}`
  }

  async beToldOfLackingCredits() {
    this.world.needsMoney()
    const options = { ...this._options(), payment: this.world.credit() }
    return isRefused(this.world.stranger().createInstance(options))
  }

  async forget() {
    this.world.needsMoney()
    await this.client.forget({ hashes: [this.instance.item_hash], channel: CHANNEL, sync: true })
    equal(await this.world.status(this.instance.item_hash), 'forgotten')
    return 'forgotten'
  }

  _options() {
    return {
      channel: CHANNEL, sync: true, metadata: { name: 'conformance' }, authorized_keys: ['ssh-ed25519 AAAA'],
      resources: { vcpus: 1, memory: 2048, seconds: 30 },
      rootfs: { parent: { ref: this.world.image }, size_mib: 20_480 },
      volumes: [{ mount: '/data', persistence: 'host', name: 'data', size_mib: 100 }],
    }
  }
}
