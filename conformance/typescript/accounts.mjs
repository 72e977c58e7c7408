/** Accounts of every chain that the SDK has: the node accepts what they sign. */

import { randomBytes } from 'node:crypto'
import { contains, equal, failure, said } from './cases.mjs'
import { CHANNEL, Group, sdk } from './world.mjs'

export class Accounts extends Group {
  ethereum() {
    return this._publishes(sdk('ethereum').newAccount().account)
  }

  ethereumFromAMnemonic() {
    const { mnemonic } = sdk('ethereum').newAccount()
    return this._publishes(sdk('ethereum').importAccountFromMnemonic(mnemonic))
  }

  base() {
    return this._publishes(sdk('base').newAccount().account)
  }

  async avalancheC() {
    return this._publishes(await sdk('avalanche').importAccountFromPrivateKey(randomBytes(32).toString('hex')))
  }

  solana() {
    return this._publishes(sdk('solana').newAccount().account)
  }

  async cosmos() {
    return this._publishes((await sdk('cosmos').newAccount()).account)
  }

  async substrate() {
    return this._publishes((await sdk('substrate').newAccount()).account)
  }

  async nuls2() {
    return this._publishes((await sdk('nuls2').newAccount()).account)
  }

  /** New ones sign as on the X-chain, but for an Ethereum address: no verifier takes that. */
  async avalancheCMadeAnew() {
    const { newAccount, ChainType } = sdk('avalanche')
    return this._isRefused((await newAccount(ChainType.C_CHAIN)).account)
  }

  /** The SDK sends them as messages of Ethereum. */
  async avalancheX() {
    const { newAccount, ChainType } = sdk('avalanche')
    return this._isRefused((await newAccount(ChainType.X_CHAIN)).account)
  }

  /** The SDK takes the message's seconds for milliseconds, so that it signs a date in 1970. */
  async tezos() {
    return this._isRefused((await sdk('tezos').newAccount()).signerAccount)
  }

  async tezosWithMilliseconds() {
    const account = (await sdk('tezos').newAccount()).signerAccount
    const sign = account.sign.bind(account)
    account.sign = (message) => {
      const getVerificationBuffer = () => message.getVerificationBuffer()
      return sign({ ...message, time: message.time * 1000, getVerificationBuffer })
    }
    return this._publishes(account)
  }

  async _publishes(account) {
    const client = this.world.clientOf(account)
    const message = await client.createPost({
      postType: `${this.world.tag}-chains`, content: { chain: account.getChain() }, channel: CHANNEL, sync: true,
    })
    equal(await this.world.status(message.item_hash), 'processed')
    const read = await client.getMessage(message.item_hash)
    equal([read.sender, read.content.address], [account.address, account.address])
    return `${read.chain} ${read.sender}`
  }

  /** Refused here as by the reference; README.md says why. */
  async _isRefused(account) {
    const refused = await failure(this._publishes(account))
    contains(said(refused), 'InvalidMessageError', '422')
    return `refused as by the reference: ${refused.name}`
  }
}
