// The real m2-switch as a child process, for one test.
//
// Each test has its own switch, configuration and free ports, and leaves nothing behind: when it
// ends its clients disconnect, the switch gets SIGTERM and must exit with status 0.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

const BINARY = process.env.M2_SWITCH ?? '../debug/m2-switch'
const START_MS_MAX = 15_000

/** A token that no earlier run has used. */
export const randomToken = () => randomBytes(16).toString('hex')

/**
 * The words of one account, in the form of the configuration file. Both limits are far above what
 * STREAM probes with (10^12 units, in either asset), so that a test that means a limit sets it.
 */
export function account (name, words = {}) {
  return {
    name,
    relation: 'child',
    asset: 'USD/9',
    token: randomToken(),
    balance_max: 5_000_000_000_000_000,
    payable_max: 5_000_000_000_000_000,
    routes: [`test.m2m.${name}`],
    ...words
  }
}

/**
 * Starts a switch for the test `t` and stops it when the test ends.
 */
export async function startSwitch (t, { accounts, assets, rates = [], words = {} }) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'm2m-'))
  const running = new Switch(folder, accounts)
  t.after(() => running.stop())
  const config = path.join(folder, 'switch.toml')
  await writeFile(config, toml({
    switch: {
      address: 'test.m2m',
      network: 'test',
      control_socket: running.controlSocket,
      ...words
    },
    listen: [
      { transport: 'ws', address: '127.0.0.1:0' },
      { transport: 'tcp', address: '127.0.0.1:0' },
      { transport: 'unix', path: path.join(folder, 'btp.sock') }
    ],
    assets: assets ?? [{ code: 'USD', scale: 9 }],
    rates,
    accounts
  }))
  await running.start(config)
  return running
}

class Switch {
  #clients = []

  constructor (folder, accounts) {
    this.folder = folder
    this.accounts = accounts
    this.controlSocket = path.join(folder, 'control.sock')
    this.log = ''
  }

  async start (config) {
    this.child = spawn(BINARY, ['run', '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.ended = new Promise((resolve, reject) => {
      this.child.once('close', (status, signal) => resolve(status ?? signal))
      this.child.once('error', reject)
    })
    for (const output of [this.child.stdout, this.child.stderr]) {
      output.on('data', data => { this.log += data })
    }
    const giveUp = Date.now() + START_MS_MAX
    while (!this.status) {
      this.status = await this.control('status').catch(() => undefined)
      if (this.child.exitCode !== null) {
        assert.fail(`m2-switch did not start, status ${await this.ended}:\n${this.log}`)
      }
      assert.ok(Date.now() < giveUp, `m2-switch has no control socket yet:\n${this.log}`)
      if (!this.status) await sleep(10)
    }
  }

  /** What to await before the switch is stopped; the last one comes first. */
  beforeStop (disconnect) {
    this.#clients.unshift(disconnect)
  }

  /** Where the switch listens: `{ transport, address }`. */
  listen (transport) {
    return this.status.listen.find(listen => listen.transport === transport).address
  }

  /** The address that ilp-plugin-btp connects to, user and token included. */
  url (name, { token, path = '' } = {}) {
    const { token: configured } = this.accounts.find(account => account.name === name) ?? {}
    return `btp+ws://${name}:${token ?? configured}@${this.listen('ws')}${path}`
  }

  /** One command to the control socket, and its answer. */
  async control (cmd, words = {}) {
    const socket = net.connect(this.controlSocket)
    try {
      await once(socket, 'connect')
      socket.write(JSON.stringify({ cmd, ...words }) + '\n')
      const [line] = await once(createInterface({ input: socket }), 'line')
      const answer = JSON.parse(line)
      assert.equal(answer.ok, true, line)
      return answer
    } finally {
      socket.destroy()
    }
  }

  /**
   * The balance of each account, after checking that no other word of any ledger holds a unit and
   * that nothing is in flight: at once, or within `waitMs` for a client that sends packets of its
   * own accord.
   */
  async balances ({ waitMs = 0 } = {}) {
    const giveUp = Date.now() + waitMs
    let { accounts } = await this.control('accounts')
    while (accounts.some(inFlight) && Date.now() < giveUp) {
      await sleep(10)
      accounts = (await this.control('accounts')).accounts
    }
    for (const account of accounts) {
      const { held_in, held_out, frozen, prepaid, in_flight_in, in_flight_out } = account
      assert.deepEqual(
        { held_in, held_out, frozen, prepaid, in_flight_in, in_flight_out },
        { held_in: '0', held_out: '0', frozen: '0', prepaid: '0', in_flight_in: 0, in_flight_out: 0 },
        account.name
      )
    }
    return Object.fromEntries(accounts.map(({ name, balance }) => [name, balance]))
  }

  /** SIGTERM; the exit status must be 0. */
  async stop () {
    try {
      for (const disconnect of this.#clients) await disconnect()
      if (!this.child) return
      this.child.kill('SIGTERM')
      assert.equal(await this.ended, 0, `m2-switch ended badly:\n${this.log}`)
    } finally {
      await rm(this.folder, { recursive: true, force: true })
    }
  }
}

const inFlight = account => account.in_flight_in + account.in_flight_out > 0

/** Tables and arrays of tables of plain values as TOML. */
function toml (tables) {
  return Object.entries(tables).flatMap(([name, value]) => Array.isArray(value)
    ? value.map(table => `[[${name}]]\n${rows(table)}`)
    : [`[${name}]\n${rows(value)}`]
  ).join('\n')
}

// A string, number, boolean or array of those has the same form in JSON and in TOML.
const rows = table =>
  Object.entries(table).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`).join('')
