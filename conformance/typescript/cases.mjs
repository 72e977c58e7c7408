/**
 * Runs cases: the methods of classes, in the order in which they stand there. Lines as `cases.py` prints them.
 */

import assert from 'node:assert/strict'

const CASE_MILLISECONDS = 60_000

/** Why this case can't be tried here. */
export class Skip extends Error {}

export const equal = (actual, expected) => assert.deepEqual(actual, expected)

export function holds(condition, otherwise) {
  if (!condition) throw new Error(otherwise)
}

export function contains(text, ...pieces) {
  for (const piece of pieces) holds(String(text).includes(piece), `"${piece}" is not in ${shorten(text, 600)}`)
}

export function shorten(value, length = 200) {
  const text = String(value).split(/\s+/).join(' ')
  return text.length <= length ? text : `${text.slice(0, length - 3)}...`
}

/** What a client's error says, with what the node answered, as a program that uses the client sees it. */
export function said(error) {
  const answer = error?.response?.data
  const body = answer === undefined ? '' : ` ${typeof answer === 'string' ? answer : JSON.stringify(answer)}`
  return `${error?.name}: ${error?.message}${body}`
}

/** The error with which `attempt` fails. */
export async function failure(attempt) {
  let result
  try {
    result = await attempt
  } catch (error) {
    return error
  }
  throw new Error(`it did not fail, but gave ${shorten(JSON.stringify(result))}`)
}

/**
 * What the SDK says when the node refuses a message. It shows the code only, not the node's answer, and asks for
 * the reason at the public network's node (`getMessageError`), whatever node the message went to.
 */
export async function isRefused(attempt) {
  const error = await failure(attempt)
  contains(said(error), 'InvalidMessageError', 'status code 4')
  return `${error.name}: ${error.message.match(/status code \d+/)?.[0]}`
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

export async function until(condition, otherwise) {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (condition()) return
    await sleep(50)
  }
  throw new Error(otherwise())
}

async function limited(promise) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('it took longer than a minute')), CASE_MILLISECONDS)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Runs all cases of these objects; whether none failed. */
export async function run(groups, words) {
  const verbose = words.includes('-v')
  const wanted = words.filter((word) => !word.startsWith('-')).map((word) => word.toLowerCase())
  let failed = 0
  for (const group of groups) {
    for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(group))) {
      const plain = name.replace(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`)
      const title = `${group.constructor.name.toLowerCase()}: ${plain}`
      const isWanted = wanted.length === 0 || wanted.some((word) => title.includes(word))
      if (name === 'constructor' || name.startsWith('_') || !isWanted) continue
      const begun = performance.now()
      try {
        const remark = await limited(group[name]())
        const milliseconds = (performance.now() - begun).toFixed(0)
        console.log(`ok      ${title.padEnd(58)} ${milliseconds.padStart(6)} ms  ${shorten(remark ?? '', 70)}`)
      } catch (error) {
        if (error instanceof Skip) {
          console.log(`skipped ${title.padEnd(58)} ${shorten(error.message)}`)
          continue
        }
        failed += 1
        console.log(`FAILED  ${title}: ${shorten(said(error), 700)}`)
        if (verbose) console.error(error)
      }
    }
  }
  return failed === 0
}
