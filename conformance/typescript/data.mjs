/** Posts, aggregates, lists, sockets, forgetting. */

import { contains, equal, failure, holds, isRefused, said, sleep, until } from './cases.mjs'
import { CHANNEL, Group, sdk } from './world.mjs'

export class Posts extends Group {
  async create() {
    this.world.first = await this.world.post({ content: { text: 'hello', umlaut: 'ü', tags: [this.world.tag] } })
    equal(await this.world.status(this.world.first.item_hash), 'processed')
    return this.world.first.item_hash
  }

  async read() {
    const message = await this.world.reader.getMessage(this.world.first.item_hash)
    equal(message.content.content.umlaut, 'ü')
    equal(message.signature, this.world.first.signature)
    return message.sender
  }

  async amend() {
    const original = this.world.first.item_hash
    await this.world.post({ postType: 'amend', ref: original, content: { text: 'amended', tags: [this.world.tag] } })
    const post = await this.world.reader.getPost({ hashes: [original], types: [this.world.tag] })
    equal([post.content.text, post.original_item_hash], ['amended', original])
    return post.item_hash
  }

  async listByEveryFilter() {
    const original = this.world.first.item_hash
    this.world.second = await this.world.post({ postType: `${this.world.tag}-b`, ref: original, channel: 'ELSEWHERE' })
    const filters = [
      [{ types: [this.world.tag] }, [original]],
      [{ types: `${this.world.tag}-b` }, [this.world.second.item_hash]],
      [{ hashes: [original, this.world.second.item_hash] }, [this.world.second.item_hash, original]],
      [{ refs: [original] }, [this.world.second.item_hash]],
      [{ tags: [this.world.tag] }, [original]],
      [{ addresses: [this.address], types: [this.world.tag] }, [original]],
      [{ addresses: [this.address], channels: ['ELSEWHERE'] }, [this.world.second.item_hash]],
      [{ addresses: [this.address], types: [this.world.tag], pagination: 1, page: 2 }, []],
    ]
    for (const [config, expected] of filters) {
      const answer = await this.world.reader.getPosts(config)
      const found = answer.posts.map((post) => post.original_item_hash)
      holds(found.join() === expected.join(), `${JSON.stringify(config)} found ${found.length}`)
    }
    return `${filters.length} filters`
  }

  async postMoreThanFitsInline() {
    const message = await this.world.post({ content: { text: 'ü'.repeat(60_000) }, postType: `${this.world.tag}-long` })
    equal(message.item_type, 'storage')
    const read = await this.world.reader.getMessage(message.item_hash)
    equal(read.content.content.text.length, 60_000)
    return message.item_hash
  }

  async publishWithoutWaiting() {
    const message = await this.world.post({ sync: false, postType: `${this.world.tag}-c` })
    equal(await this.world.status(message.item_hash), 'processed')
    return 'processed at once'
  }

  async beToldOfAMissingOne() {
    const error = await failure(this.world.reader.getPost({ types: `${this.world.tag}-none` }))
    return said(error)
  }

  async beToldOfARefusal() {
    return isRefused(this.world.post({ address: `0x${'12'.repeat(20)}` }))
  }
}

export class Aggregates extends Group {
  async set() {
    const message = await this.client.createAggregate({
      key: 'typescript', content: { a: 1, b: 'ü' }, channel: CHANNEL, sync: true,
    })
    equal(await this.world.status(message.item_hash), 'processed')
    return message.item_hash
  }

  async merge() {
    await this.client.createAggregate({ key: 'typescript', content: { b: 2 }, channel: CHANNEL, sync: true })
    const content = await this.world.reader.fetchAggregate(this.address, 'typescript')
    equal(content, { a: 1, b: 2 })
    return JSON.stringify(content)
  }

  async readSeveral() {
    await this.client.createAggregate({ key: 'other', content: { c: 3 }, channel: CHANNEL, sync: true })
    const contents = await this.world.reader.fetchAggregates(this.address, ['typescript', 'other'])
    equal(contents, { typescript: { a: 1, b: 2 }, other: { c: 3 } })
    const everything = await this.world.reader.fetchAggregates(this.address)
    holds('typescript' in everything && 'other' in everything, Object.keys(everything).join())
    return Object.keys(contents).join()
  }

  async beToldOfAMissingOne() {
    const error = await failure(this.world.reader.fetchAggregate(this.address, 'no-such-key'))
    contains(said(error), 'no aggregate found')
    return said(error)
  }

  async delegate() {
    const delegate = this.world.stranger()
    const forOther = { key: 'delegated', content: { by: 'another' }, address: this.address, channel: CHANNEL, sync: true }
    await isRefused(delegate.createAggregate(forOther))
    const authorizations = [{ address: delegate.account.address, types: ['AGGREGATE'], aggregate_keys: ['delegated'] }]
    await this.client.createAggregate({ key: 'security', content: { authorizations }, channel: 'security', sync: true })
    await delegate.createAggregate(forOther)
    equal(await this.world.reader.fetchAggregate(this.address, 'delegated'), { by: 'another' })
    await this.client.createAggregate({
      key: 'security', content: { authorizations: [] }, channel: 'security', sync: true,
    })
    await isRefused(delegate.createAggregate({ ...forOther, content: {} }))
    return 'granted, used, revoked'
  }
}

export class Messages extends Group {
  async listByEveryFilter() {
    const [first, second] = [this.world.first, this.world.second]
    const own = { addresses: [this.address] }
    const aggregate = await this.client.createAggregate({
      key: `${this.world.tag}-key`, content: { n: 1 }, channel: `${this.world.tag}-channel`, sync: true,
    })
    const filters = [
      [{ hashes: [first.item_hash] }, [first]],
      [{ refs: [first.item_hash], contentTypes: [`${this.world.tag}-b`] }, [second]],
      [{ contentTypes: [this.world.tag], ...own }, [first]],
      [{ contentKeys: [`${this.world.tag}-key`] }, [aggregate]],
      [{ channels: [`${this.world.tag}-channel`] }, [aggregate]],
      [{ tags: [this.world.tag], contentTypes: [this.world.tag] }, [first]],
      [{ ...own, channels: ['ELSEWHERE'] }, [second]],
      [{ ...own, chains: ['SOL'] }, []],
      [{ ...own, chains: ['ETH'], hashes: [first.item_hash] }, [first]],
      [{ ...own, messageTypes: ['AGGREGATE'], contentKeys: [`${this.world.tag}-key`] }, [aggregate]],
      [{ ...own, messageTypes: ['STORE'], channels: ['ELSEWHERE'] }, []],
      [{ hashes: [first.item_hash], startDate: new Date(Date.now() - 3_600_000), endDate: new Date(Date.now() + 60_000) },
        [first]],
      [{ hashes: [first.item_hash], endDate: new Date(Date.now() - 3_600_000) }, []],
      [{ ...own, contentTypes: [this.world.tag], pagination: 1, page: 1 }, [first]],
      [{ ...own, contentTypes: [this.world.tag], paymentTypes: ['credit'] }, []],
    ]
    for (const [config, expected] of filters) {
      const answer = await this.world.reader.getMessages(config)
      const found = answer.messages.map((message) => message.item_hash)
      const wanted = expected.map((message) => message.item_hash)
      holds(found.join() === wanted.join(), `${JSON.stringify(config)} found ${found.length} of ${wanted.length}`)
    }
    return `${filters.length} filters`
  }

  async beToldOfAMissingOne() {
    const error = await failure(this.world.reader.getMessage('0'.repeat(64)))
    contains(said(error), 'MessageNotFoundError')
    return said(error)
  }

  async beToldOfAWrongHash() {
    const error = await failure(this.world.reader.getMessage('xyz'))
    // the SDK does not show what the node answers
    contains(said(error), 'QueryError', 'xyz')
    return said(error)
  }
}

export class Watching extends Group {
  async messagesArrive() {
    const { BaseMessageClient } = sdk('message')
    const channel = `${this.world.tag}-watched`
    const watcher = new BaseMessageClient(this.world.node, this.world.node.replace(/^http/, 'ws'))
    const sockets = {
      channel: watcher.getMessagesSocket({ channels: [channel] }),
      addresses: watcher.getMessagesSocket({ addresses: [this.address], channels: [channel] }),
      messageType: watcher.getMessagesSocket({ messageType: 'AGGREGATE', channels: [channel] }),
      contentTypes: watcher.getMessagesSocket({ contentTypes: [channel] }),
      contentKeys: watcher.getMessagesSocket({ contentKeys: [channel] }),
      tags: watcher.getMessagesSocket({ tags: [channel] }),
      chains: watcher.getMessagesSocket({ chains: ['SOL'], channels: [channel] }),
      history: watcher.getMessagesSocket({ hashes: [this.world.first.item_hash], history: 5 }),
    }
    const all = Object.values(sockets)
    try {
      await until(() => all.every((socket) => socket.getIsOpen()), () => 'the sockets did not open')
      const post = await this.world.post({ channel, postType: channel, content: { tags: [channel] } })
      const aggregate = await this.client.createAggregate({ key: channel, content: {}, channel, sync: true })
      const expected = {
        channel: [post, aggregate], addresses: [post, aggregate], messageType: [aggregate], contentTypes: [post],
        contentKeys: [aggregate], tags: [post], chains: [], history: [this.world.first],
      }
      const hashes = (list) => list.map((message) => message.item_hash).join()
      const wrong = () => Object.keys(sockets).filter((name) => hashes(sockets[name].getData()) !== hashes(expected[name]))
      await until(() => wrong().length === 0, () => wrong().map((name) => `${name} got ${sockets[name].getData().length}`).join())
      await sleep(200)
      equal(wrong(), [])
    } finally {
      for (const socket of all) socket.closeSocket()
    }
    return `${all.length} sockets`
  }
}

export class Forgetting extends Group {
  async aPost() {
    const message = await this.client.forget({
      hashes: [this.world.first.item_hash], reason: 'conformance', channel: CHANNEL, sync: true,
    })
    equal(await this.world.status(message.item_hash), 'processed')
    equal(await this.world.status(this.world.first.item_hash), 'forgotten')
    return message.item_hash
  }

  async beToldThatItIsForgotten() {
    const error = await failure(this.world.reader.getMessage(this.world.first.item_hash))
    contains(said(error), 'Forgotten')
    return said(error)
  }

  async notWhatBelongsToOthers() {
    const refused = await isRefused(
      this.world.stranger().forget({ hashes: [this.world.second.item_hash], sync: true }),
    )
    equal(await this.world.status(this.world.second.item_hash), 'processed')
    return refused
  }
}
