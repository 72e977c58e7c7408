/** What the cases share: the packages, the accounts, their clients. */

import { createRequire } from 'node:module'
import { randomBytes } from 'node:crypto'
import { Skip } from './cases.mjs'

const require = createRequire(`${process.env.CONFORMANCE_MODULES}/`)

/** A package of the SDK, as programs of Node.js get it. */
export const sdk = (name) => require(`@aleph-sdk/${name}`)
export const plain = (name) => require(name)

export const CHANNEL = 'CONFORMANCE'
/** From here on the public network takes nothing but credits. */
const ONLY_CREDITS_SINCE = 1_798_761_600_000

export class World {
  constructor(node) {
    this.node = node
    const { AlephHttpClient } = sdk('client')
    this.reader = new AlephHttpClient(node)
    this.isFunded = Boolean(process.env.CONFORMANCE_KEY)
    this.client = this.clientOf(this.ethereum(process.env.CONFORMANCE_KEY))
    this.address = this.client.account.address
    // every run has names of its own, so that it may meet a node that others filled
    this.tag = `conformance-${Date.now()}-${randomBytes(4).toString('hex')}`
  }

  ethereum(key = randomBytes(32).toString('hex')) {
    return sdk('ethereum').importAccountFromPrivateKey(key)
  }

  clientOf(account) {
    const { AuthenticatedAlephHttpClient } = sdk('client')
    return new AuthenticatedAlephHttpClient(account, this.node)
  }

  /** The client of somebody who owns nothing. */
  stranger() {
    return this.clientOf(this.ethereum())
  }

  needsMoney() {
    if (!this.isFunded) throw new Skip('needs an account with ALEPH and credits')
  }

  credit() {
    return { chain: 'ETH', type: 'credit' }
  }

  /** For files and programs: what the SDK does by itself, as long as the network takes it. */
  payment() {
    return Date.now() < ONLY_CREDITS_SINCE ? { chain: 'ETH', type: 'hold' } : this.credit()
  }

  post(values = {}) {
    return this.client.createPost({
      postType: this.tag, content: { n: 1 }, channel: CHANNEL, sync: true, ...values,
    })
  }

  store(bytes, values = {}) {
    return this.client.createStore({
      fileObject: new Blob([bytes]), storageEngine: 'storage', channel: CHANNEL, sync: true,
      payment: this.payment(), ...values,
    })
  }

  async status(hash) {
    const answer = await fetch(`${this.node}/api/v0/messages/${hash}`)
    return answer.ok ? (await answer.json()).status : `code ${answer.status}`
  }
}

export class Group {
  constructor(world) {
    this.world = world
    this.client = world.client
    this.address = world.address
  }
}
