// npm ilp-connector 23 as a child process: two children in two scales of one asset, no spread, a free port each.
//
// Started by itself it is that process, which tells its ports when it listens and ends with its parent.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

import PluginBtp from 'ilp-plugin-btp'

const NAMES = ['alice', 'bob']
const SCALES = { alice: 9, bob: 6 }
const THIS_FILE = fileURLToPath(import.meta.url)

/** The largest amount of a packet, in both connectors that are compared. */
export const PACKET_AMOUNT_MAX = '100000000000000000'

/** Starts the connector for the test `t` and stops it when the test ends; gives the address of each account. */
export async function startConnector (t) {
  const child = fork(THIS_FILE, { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  t.after(() => child.kill())
  const [ports] = await once(child, 'message')
  return Object.fromEntries(NAMES.map(name =>
    [name, `btp+ws://${name}:token-of-${name}@127.0.0.1:${ports[name]}/`]))
}

async function run () {
  const plugins = NAMES.map(name => new PluginBtp({
    listener: { secret: `token-of-${name}`, wsOpts: { port: 0, host: '127.0.0.1' } }
  }))
  const accounts = Object.fromEntries(NAMES.map((name, index) => [name, {
    relation: 'child',
    plugin: plugins[index],
    assetCode: 'USD',
    assetScale: SCALES[name],
    maxPacketAmount: PACKET_AMOUNT_MAX
  }]))
  // What imports it, instead of requiring it, starts a connector by its environment.
  const { createApp } = createRequire(import.meta.url)('ilp-connector')
  const app = createApp({ ilpAddress: 'test.js', spread: 0, backend: 'one-to-one', accounts })
  app.listen() // resolves only when every account is connected
  for (const plugin of plugins) {
    while (!plugin._wss) await new Promise(resolve => setImmediate(resolve))
    if (!plugin._wss.address()) await once(plugin._wss, 'listening')
  }
  const ports = NAMES.map((name, index) => [name, plugins[index]._wss.address().port])
  process.on('disconnect', () => process.exit())
  process.send(Object.fromEntries(ports))
}

if (process.argv[1] === THIS_FILE) run()
