// Writes vectors.json beside this file: the CIDs that the JavaScript implementation of UnixFS gives
// with Kubo's settings, CARs that it wrote, and a sharded directory that it wrote with its own.
//
//   npm ci && node generate.mjs
//
// The Rust tests make the same input: xorshift32 with a fixed seed, four bytes little-endian a step.
import { writeFileSync } from 'node:fs'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { CarWriter } from '@ipld/car'
import { UnixFS } from 'ipfs-unixfs'
import * as dagPb from '@ipld/dag-pb'
import * as dagCbor from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import { base16 } from 'multiformats/bases/base16'
import { base32upper } from 'multiformats/bases/base32'
import { base36 } from 'multiformats/bases/base36'
import { base58btc } from 'multiformats/bases/base58'
import { base64url } from 'multiformats/bases/base64'
import { sha256 } from 'multiformats/hashes/sha2'

const SEED = 0x616c6570

function * random (size) {
  let state = SEED
  const step = 1 << 20
  for (let done = 0; done < size; done += step) {
    const words = new Uint32Array(step / 4)
    for (let i = 0; i < words.length; i++) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      words[i] = state
    }
    yield new Uint8Array(words.buffer).subarray(0, Math.min(step, size - done))
  }
}

// What `ipfs add` does with these flags; every option is written out, so that no default decides.
const settings = (cidVersion, rawLeaves, chunkSize = 262144, maxChildrenPerNode = 174, shardSplitStrategy = 'links-bytes') => ({
  cidVersion,
  rawLeaves,
  leafType: 'file',
  reduceSingleLeafToSelf: true,
  fieldOrder: 'links-first',
  wrapWithDirectory: false,
  chunker: fixedSize({ chunkSize }),
  layout: balanced({ maxChildrenPerNode }),
  shardSplitStrategy,
  shardSplitThresholdBytes: 262144,
  shardFanoutBits: 8
})
const LAYOUTS = {
  v0: settings(0, false),
  v0_raw: settings(0, true),
  v1: settings(1, true),
  v1_wrapped: settings(1, false),
  v1_2025: settings(1, true, 1048576, 1024, 'block-bytes'),
  narrow: settings(0, false, 1024, 3)
}

class Nowhere {
  async put (cid) { return cid }
}

async function last (candidates, layout, store = new Nowhere()) {
  let root
  for await (const entry of importer(candidates, store, layout)) root = entry
  return root
}

const shown = (entry) => ({ cid: entry.cid.toString(), cumulative_size: Number(entry.size) })

const CHUNK = 262144
const MIB = 1048576
const files = []
for (const [name, size, layouts] of [
  ...[0, 1, 2, 127, 128, 16383, 16384, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 7, MIB, MIB + 1].map((n) => [n, n]),
  ...[173, 174, 175, 176, 348, 349].map((n) => [`${n} chunks`, n * CHUNK, ['v0', 'v1', 'v1_wrapped']]),
  ['174 chunks - 1', 174 * CHUNK - 1, ['v0', 'v1']],
  ['174 chunks + 1', 174 * CHUNK + 1, ['v0', 'v1', 'v0_raw', 'v1_2025']],
  ['100 MiB', 100 * MIB, ['v0', 'v1', 'v1_2025']],
  ...[2, 3, 4, 8, 9, 10, 26, 27, 28, 80, 81, 82, 243, 244, 1000].map((n) => [`narrow ${n} chunks`, n * 1024, ['narrow']]),
  ['narrow 100 chunks + 5', 100 * 1024 + 5, ['narrow']]
]) {
  for (const layout of layouts ?? Object.keys(LAYOUTS)) {
    const entry = await last([{ content: random(size) }], LAYOUTS[layout])
    files.push({ name: String(name), size, layout, ...shown(entry) })
  }
}

const text = (content) => new TextEncoder().encode(content)
const DIRECTORIES = {
  'one file': { 'd/hello.txt': 'hello world\n' },
  'names in order of bytes': { 'd/b': 'b', 'd/a': 'a', 'd/B': 'B', 'd/aa': 'aa', 'd/a.': 'a.', 'd/~': '~', 'd/é': 'é', 'd/漢字': '漢', 'd/😀.txt': '😀', 'd/ a b': ' ' },
  nested: { 'd/a/b/c/deep.txt': 'deep', 'd/a/b/side': 'side', 'd/a/x': '', 'd/z/y': 'z' },
  'json and html': { 'd/index.html': '<!doctype html><title>x</title>', 'd/data/one.json': '{"a":1}', 'd/data/two.json': '[]' },
  'same content': Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`d/copy-${i}`, 'same'])),
  'a file of many chunks': { 'd/big': 3 * CHUNK + 5, 'd/small': 'x' }
}
const many = (count, name) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`d/${name(i)}`, `content ${i}`]))
Object.assign(DIRECTORIES, {
  '1000 entries': many(1000, (i) => `file-${i}.txt`),
  // 5 bytes of name and 34 of CID: 6,721 entries are 262,119 bytes, 6,722 are above the threshold
  'just below sharding': many(6721, (i) => `f${String(i).padStart(4, '0')}`),
  'just above sharding': many(6722, (i) => `f${String(i).padStart(4, '0')}`),
  '10000 entries': many(10000, (i) => `file-${i}.txt`),
  '6000 entries with long names': many(6000, (i) => `${'long '.repeat(20)}${i}`)
})
const directories = []
for (const [name, entries] of Object.entries(DIRECTORIES)) {
  for (const layout of ['v0', 'v1', 'v1_2025']) {
    const candidates = Object.entries(entries).map(([path, content]) =>
      ({ path, content: typeof content === 'number' ? random(content) : text(content) }))
    const root = await last(candidates, LAYOUTS[layout])
    directories.push({ name, layout, ...shown(root) })
  }
}
// What the tests can't guess from the name is written down.
const trees = Object.fromEntries(Object.entries(DIRECTORIES).filter(([, entries]) => Object.keys(entries).length < 100))

// CIDs in every base.
const cids = []
for (const cid of [
  CID.createV1(0x55, await sha256.digest(text('raw'))),
  CID.createV1(0x70, await sha256.digest(text('dag-pb'))),
  CID.createV1(0x71, await sha256.digest(text('dag-cbor'))),
  CID.createV1(0x0129, await sha256.digest(text('dag-json')))
]) {
  cids.push({
    base16: cid.toString(base16),
    base32: cid.toString(),
    base32upper: cid.toString(base32upper),
    base36: cid.toString(base36),
    base58btc: cid.toString(base58btc),
    base64url: cid.toString(base64url),
    v0: cid.code === 0x70 ? cid.toV0().toString() : null
  })
}

// CARs, whole.
async function car (roots, blocks) {
  const { writer, out } = CarWriter.create(roots)
  const parts = []
  const reading = (async () => { for await (const part of out) parts.push(part) })()
  for (const { cid, bytes } of blocks) await writer.put({ cid, bytes })
  await writer.close()
  await reading
  return Buffer.concat(parts).toString('base64')
}
async function imported (entries, layout) {
  const blocks = []
  const store = { async put (cid, bytes) { blocks.push({ cid, bytes }); return cid } }
  const root = await last(entries, layout, store)
  return { root, blocks }
}
const cars = []
{
  const entries = Object.entries(DIRECTORIES.nested).map(([path, content]) => ({ path, content: text(content) }))
  const { root, blocks } = await imported(entries, LAYOUTS.v1)
  cars.push({ name: 'nested, version 1', roots: [root.cid.toString()], blocks: blocks.length, base64: await car([root.cid], blocks) })
}
{
  const { root, blocks } = await imported([{ content: random(5000) }], LAYOUTS.narrow)
  cars.push({ name: 'a file, version 0', roots: [root.cid.toString()], blocks: blocks.length, base64: await car([root.cid], blocks) })
}
{
  const leaf = { bytes: text('leaf') }
  leaf.cid = CID.createV1(0x55, await sha256.digest(leaf.bytes))
  const node = { bytes: dagCbor.encode({ list: [1, -5, 1.5, true, null, 'text', leaf.cid], bytes: new Uint8Array(3), map: { link: leaf.cid } }) }
  node.cid = CID.createV1(0x71, await sha256.digest(node.bytes))
  cars.push({ name: 'dag-cbor', roots: [node.cid.toString()], blocks: 2, base64: await car([node.cid], [node, leaf]) })
  cars.push({ name: 'two roots', roots: [node.cid, leaf.cid].map(String), blocks: 2, base64: await car([node.cid, leaf.cid], [node, leaf]) })
  cars.push({ name: 'no root and no block', roots: [], blocks: 0, base64: await car([], []) })
}

// A shard written data-first, as the importer does without a profile; 40 entries with one shard below.
const dataFirst = []
{
  const entries = Array.from({ length: 40 }, (_, i) => ({ path: `d/entry ${i}`, content: text(`${i}`) }))
  const { root, blocks } = await imported(entries, { ...LAYOUTS.v1, fieldOrder: 'data-first', shardSplitThresholdBytes: 100 })
  dataFirst.push({ name: 'shards, data first', root: root.cid.toString(), entries: 40, base64: await car([root.cid], blocks) })
}

// A symlink as a dag-pb node.
const symlinks = []
for (const target of ['target', '../up']) {
  const unixfs = new UnixFS({ type: 'symlink', data: text(target) })
  const bytes = dagPb.encode({ Data: unixfs.marshal(), Links: [] })
  const hash = await sha256.digest(bytes)
  symlinks.push({ target, v0: CID.createV0(hash).toString(), v1: CID.createV1(0x70, hash).toString() })
}

const vectors = { files, directories, trees, cids, cars, dataFirst, symlinks }
writeFileSync(new URL('vectors.json', import.meta.url), JSON.stringify(vectors, null, 1) + '\n')
console.log(files.length, 'files,', directories.length, 'directories')
