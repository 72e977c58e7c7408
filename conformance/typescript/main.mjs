/**
 * The official TypeScript SDK, unmodified, against one core node: `main.mjs URL [word …] [-v]`.
 *
 * The packages are in the folder that $CONFORMANCE_MODULES names.
 */

import { run } from './cases.mjs'
import { Accounts } from './accounts.mjs'
import { Aggregates, Forgetting, Messages, Posts, Watching } from './data.mjs'
import { Files, Ipfs, Instances, Programs, Resumable } from './resources.mjs'
import { World } from './world.mjs'

const [node, ...words] = process.argv.slice(2)
if (!node) {
  console.error('usage: main.mjs URL [word …] [-v]')
  process.exit(2)
}
const world = new World(node.replace(/\/$/, ''))
const groups = [Accounts, Posts, Aggregates, Messages, Watching, Files, Resumable, Ipfs, Programs, Instances, Forgetting]
const passed = await run(groups.map((group) => new group(world)), words)
// sockets of the SDK may still be open
process.exit(passed ? 0 : 1)
