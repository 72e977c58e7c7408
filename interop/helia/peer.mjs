// A node of Helia (IPFS in JavaScript) for tests: it takes orders on its standard input and tells events on
// its standard output, a JSON document a line.
//
//   {"do":"dial","address":"/ip4/…/p2p/…"}     connects
//   {"do":"add","path":"…"}                     adds a file, or a folder with everything in it
//   {"do":"get","cid":"…"}                      reads a file to its end
//   {"do":"tree","cid":"…"}                     reads every file below a directory
//   {"do":"provide","cid":"…"}                  tells the distributed table that it has it
//   {"do":"find","cid":"…"}                     looks up there who has it, without asking those it is connected to
//   {"do":"table"}                              says how many peers it knows for its table
//
// It speaks to the peers that it is connected to, and to nobody else; with ALEPH_HELIA_DHT=1 it takes part in a
// private distributed table, and also to those that it finds there.

import { createHash } from 'node:crypto'
import { createReadStream, readdirSync, statSync } from 'node:fs'
import path from 'node:path'
import readline from 'node:readline'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { bitswap } from '@helia/block-brokers'
import { unixfs } from '@helia/unixfs'
import { Helia } from '@helia/utils'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { MemoryBlockstore } from 'blockstore-core'
import { MemoryDatastore } from 'datastore-core'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'
import * as dagPb from '@ipld/dag-pb'

const tell = (event) => process.stdout.write(JSON.stringify(event) + '\n')

const hasTable = process.env.ALEPH_HELIA_DHT === '1'
const table = {
  ping: ping(),
  // addresses of this machine are fine
  dht: kadDHT({ protocol: '/ipfs/lan/kad/1.0.0', clientMode: false, peerInfoMapper: passthroughMapper })
}

const libp2p = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), ...(hasTable ? table : {}) }
})
const helia = new Helia({
  libp2p,
  blockstore: new MemoryBlockstore(),
  datastore: new MemoryDatastore(),
  blockBrokers: [bitswap()],
  routers: hasTable ? [{ findProviders: (cid, options) => libp2p.contentRouting.findProviders(cid, options) }] : [],
  codecs: [dagPb]
})
await helia.start()
const fs = unixfs(helia)

libp2p.addEventListener('peer:identify', (event) => {
  tell({ event: 'identified', peer: event.detail.peerId.toString(), protocols: event.detail.protocols })
})

const digest = async (cid) => {
  const hash = createHash('sha256')
  let size = 0
  for await (const piece of fs.cat(cid)) {
    hash.update(piece)
    size += piece.length
  }
  return { size, sha256: hash.digest('hex') }
}

async function * tree (cid, below) {
  for await (const entry of fs.ls(cid)) {
    const at = below === '' ? entry.name : `${below}/${entry.name}`
    const cid = CID.asCID(entry.cid)
    const { type } = await fs.stat(cid)
    if (type === 'directory') {
      yield * tree(cid, at)
    } else {
      yield { path: at, ...await digest(cid) }
    }
  }
}

const add = async (at) => {
  if (!statSync(at).isDirectory()) {
    // As Kubo does it by default, so that both sides have the same CID.
    return fs.addByteStream(createReadStream(at), { cidVersion: 1, rawLeaves: true })
  }
  const files = readdirSync(at, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const sources = files.map((entry) => {
    const whole = path.join(entry.parentPath, entry.name)
    return { path: path.relative(at, whole), content: createReadStream(whole) }
  })
  let root
  for await (const added of fs.addAll(sources, { wrapWithDirectory: true, rawLeaves: true })) {
    root = added.cid
  }
  return root
}

const orders = {
  dial: async ({ address }) => {
    await libp2p.dial(multiaddr(address))
    return { event: 'dialled' }
  },
  add: async ({ path }) => ({ event: 'added', cid: (await add(path)).toString() }),
  get: async ({ cid }) => ({ event: 'got', cid, ...await digest(CID.parse(cid)) }),
  tree: async ({ cid }) => {
    const files = []
    for await (const file of tree(CID.parse(cid), '')) {
      files.push(file)
    }
    return { event: 'tree', cid, files }
  },
  provide: async ({ cid }) => {
    await libp2p.contentRouting.provide(CID.parse(cid))
    return { event: 'provided', cid }
  },
  find: async ({ cid }) => {
    const providers = []
    for await (const { id, multiaddrs } of libp2p.contentRouting.findProviders(CID.parse(cid))) {
      providers.push({ peer: id.toString(), addresses: multiaddrs.map((address) => address.toString()) })
    }
    return { event: 'found', cid, providers }
  },
  table: async () => ({ event: 'table', peers: libp2p.services.dht.routingTable.size })
}

tell({
  event: 'listening',
  peer_id: libp2p.peerId.toString(),
  address: libp2p.getMultiaddrs()[0].toString()
})
for await (const line of readline.createInterface({ input: process.stdin })) {
  const order = JSON.parse(line)
  const begun = performance.now()
  orders[order.do](order).then(
    (event) => tell({ ...event, ms: Math.round(performance.now() - begun) }),
    (error) => tell({ event: 'failed', order, error: String(error?.stack ?? error) })
  )
}
await helia.stop()
