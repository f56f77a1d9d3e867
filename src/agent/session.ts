import type { Duplex } from 'node:stream';
import { KeyError, systemErrorCode, toKeyError } from '../errors.ts';
import type { Frame } from '../format/frames.ts';
import type { KeyName } from '../format/key-file-name.ts';
import {
  type Counter,
  MOST_HELD,
  OLDEST_PROTOCOL_VERSION,
  type PluginMessage,
  PROTOCOL_VERSION,
  parsePluginMessage,
  type Role,
  type Severity,
} from '../format/messages.ts';
import type { KeyId } from '../ids.ts';
import { type KeyringSurroundings, type OpenKeyring, type OwnerEvents, openKeyring } from '../keyring/open-keyring.ts';
import { withHint } from '../keyring/refusals.ts';
import { parseSettings, type Settings } from '../keyring/settings.ts';
import { type Deadline, startDeadline, unlessAborted } from '../kms/retry.ts';
import { Connection } from './connection.ts';
import { IdleTimer } from './idle-timer.ts';

export interface SessionParts extends KeyringSurroundings {
  readonly agentVersion: string;
  /** Settings that the agent was started with override the plugin's. */
  readonly overrideSettings: (settings: Settings) => Settings;
  /** Removes secrets and control characters from a text that is about to leave the process. */
  readonly redact: (text: string) => string;
  /** Milliseconds after which a connection without HELLO is closed; undefined: never. */
  readonly helloTimeoutMs?: number | undefined;
  /** Milliseconds without requests and without missing keys after which the session ends; undefined: never. */
  readonly idleTimeoutMs: number | undefined;
}

/**
 * Requests of one plugin that are processed concurrently; further ones stay unread. A plugin requests each key once at
 * a time, for its server's statements, and stays far below this number.
 */
export const MOST_REQUESTS_AT_ONCE = 256;

/** Questions of a connection that are open at a time: they are no work, and their answers must be read. */
export const MOST_QUESTIONS = 1024;

type Request = Exclude<PluginMessage, { type: 'hello' | 'held' | 'set' | 'answer' }>;
type Answer = Extract<PluginMessage, { type: 'answer' }>;

interface Opened extends OpenKeyring {
  readonly role: Role;
  readonly protocol: number;
  /** Settings of HELLO that this agent does not know. */
  readonly unknown: readonly string[];
}

/** The protocol with one plugin, from HELLO to the end of the stream. */
export class Session {
  readonly #connection: Connection;
  readonly #parts: SessionParts;
  readonly #idle: IdleTimer;
  readonly #ending = new AbortController();
  /** Increases that no STATS has reported yet. */
  readonly #counters = new Map<Counter, number>();
  #opened: Opened | undefined;
  #helloSeen = false;
  /** Key versions of the plugin that HELD has not named yet. */
  #unnamed = 0;
  /** Requests in progress. None of them rejects. */
  readonly #answering = new Set<Promise<void>>();
  /** Open questions, by the number of their request. */
  readonly #questions = new Map<number, (answer: Answer) => void>();
  /** Ends the wait for HELLO. */
  readonly #greeting = new AbortController();

  constructor(stream: Duplex, parts: SessionParts) {
    this.#connection = new Connection(stream);
    this.#parts = parts;
    this.#idle = new IdleTimer(parts.clock, parts.idleTimeoutMs, () => this.#connection.drop());
  }

  /**
   * Serves the plugin until either side closes.
   * @throws KeyError PROTOCOL when the plugin broke the protocol; then the stream is closed
   */
  async run(): Promise<void> {
    this.#awaitHello();
    const isFull = (): boolean => this.#answering.size - this.#questions.size >= MOST_REQUESTS_AT_ONCE;
    try {
      await this.#connection.read(isFull, (frame) => this.#receive(frame));
    } catch (error) {
      if (!isDisconnect(error)) throw toKeyError(error);
    } finally {
      this.#ending.abort(new Error('the connection has ended'));
      this.#idle.close();
      this.#greeting.abort();
      this.#connection.close();
      this.#opened?.stop();
      // They abort at once, and remove their temporary files.
      await Promise.all(this.#answering);
      await this.#opened?.close();
    }
  }

  async #receive(frame: Frame): Promise<void> {
    const message = parsePluginMessage(frame);
    if (message.type === 'hello') {
      await this.#hello(frame.request, message);
      return;
    }
    const opened = this.#opened;
    if (opened === undefined) throw new KeyError('PROTOCOL', `${message.type}: HELLO must come first`);
    if (message.type === 'held') {
      this.#hold(opened, message.names);
      return;
    }
    if (this.#unnamed > 0)
      throw new KeyError('PROTOCOL', `${message.type}: HELD must name ${this.#unnamed} more first`);
    if (message.type === 'set') {
      if (!opened.unknown.includes(message.name)) this.#set(opened, message.name, message.value);
      return;
    }
    if (message.type === 'answer') {
      this.#take(frame.request, message);
      return;
    }
    if (message.type === 'use' && (opened.role !== 'server' || opened.protocol === OLDEST_PROTOCOL_VERSION))
      throw new KeyError('PROTOCOL', 'use: only a server asks for it, from protocol 2 on');
    // Requests overlap: the next frame is read while this one is processed.
    const answering = this.#answer(frame.request, message, opened).finally(() => {
      this.#answering.delete(answering);
      this.#connection.lookAgain();
    });
    this.#answering.add(answering);
  }

  #take(request: number, answer: Answer): void {
    const take = this.#questions.get(request);
    if (take === undefined) throw new KeyError('PROTOCOL', `answer: no question is open under request ${request}`);
    this.#questions.delete(request);
    take(answer);
  }

  async #hello(request: number, hello: Extract<PluginMessage, { type: 'hello' }>): Promise<void> {
    if (this.#helloSeen) throw new KeyError('PROTOCOL', 'hello: it comes once');
    this.#helloSeen = true;
    this.#greeting.abort();
    try {
      const { role, held } = hello;
      const protocol = spokenWith(hello);
      const isNamed = protocol > OLDEST_PROTOCOL_VERSION;
      const { unknown, ...asked } = parseSettings(hello.settings);
      const settings = this.#parts.overrideSettings(asked);
      const unnamedHeld = isNamed ? 0 : held;
      // A plugin of protocol 1 expects its agent to call KMS once more.
      const asksForMissing = protocol === OLDEST_PROTOCOL_VERSION;
      const events = this.#events();
      const open = await openKeyring(this.#parts, { role, unnamedHeld, settings, asksForMissing, events });
      this.#opened = { ...open, role, protocol, unknown };
      this.#unnamed = isNamed ? held : 0;
      this.#connection.send(request, { type: 'welcome', protocol, agentVersion: this.#parts.agentVersion });
      if (unknown.length > 0) this.#log('warning', unknownSettings(unknown));
      for (const { severity, text } of open.notices) this.#log(severity, text);
    } catch (thrown) {
      this.#fail(request, toKeyError(thrown));
    }
  }

  #hold({ keyring }: Opened, names: readonly KeyName[]): void {
    if (names.length > this.#unnamed) {
      throw new KeyError('PROTOCOL', `held: expected at most ${this.#unnamed} key versions, got ${names.length}`);
    }
    this.#unnamed -= names.length;
    keyring.hold(names);
  }

  #events(): OwnerEvents {
    return {
      announce: (name, current, algorithm, bytes) => {
        this.#connection.send(0, { type: 'key', id: name.id, version: name.version, current, algorithm, bytes });
      },
      log: (severity, text) => this.#log(severity, text),
      count: (counter) => this.#count(counter),
      missing: (versions) => {
        this.#connection.send(0, { type: 'missing', versions });
        this.#sendStats();
      },
    };
  }

  #set(opened: Opened, name: string, value: string): void {
    try {
      opened.changeSetting(name, value);
    } catch (thrown) {
      const error = toKeyError(thrown);
      if (error.code === 'PROTOCOL') throw error;
      this.#log('error', withHint(error));
    }
  }

  async #answer(request: number, message: Request, opened: Opened): Promise<void> {
    this.#idle.begin();
    const deadline = startDeadline(this.#parts.clock, message.deadlineMs, this.#ending.signal);
    try {
      const [first, second] = await this.#perform(request, message, opened, deadline);
      this.#sendStats();
      this.#connection.send(request, { type: 'done', first, second });
    } catch (thrown) {
      this.#sendStats();
      this.#fail(request, opened.hinted(toKeyError(thrown)));
    } finally {
      deadline.cancel();
      this.#staysFor(opened.keyring.sealing);
      this.#idle.end();
    }
  }

  /** @param work continues after the request that started it, and never rejects */
  #staysFor(work: Promise<void> | undefined): void {
    if (work === undefined) return;
    this.#idle.begin();
    void work.then(() => {
      this.#sendStats();
      this.#idle.end();
    });
  }

  async #perform(
    request: number,
    message: Request,
    opened: Opened,
    deadline: Deadline,
  ): Promise<readonly [number, number]> {
    const { keyring } = opened;
    switch (message.type) {
      case 'load':
        return await this.#load(opened, deadline);
      case 'open':
        return [message.id, await this.#open(request, message, opened, deadline)];
      case 'fetch':
        await opened.fetch(message, deadline);
        return [message.id, message.version];
      case 'check':
        return await this.#check(opened, deadline);
      case 'use':
        for (const text of await opened.useMasterKeys(deadline)) this.#log('warning', text);
        return [0, 0];
      case 'rotate':
        if (message.id === 'all') return [0, await keyring.rotateAll(deadline)];
        return [message.id, await keyring.rotate(message.id, deadline)];
    }
  }

  /** @returns the latest version; 0 when none is stored, and the plugin answered that none may be created */
  async #open(
    request: number,
    { id, mayCreate }: Extract<PluginMessage, { type: 'open' }>,
    opened: Opened,
    deadline: Deadline,
  ): Promise<number> {
    // A plugin of protocol 1 looks when it is told KEY_OF_DATA, and comes again.
    const isSaid = mayCreate || opened.protocol === OLDEST_PROTOCOL_VERSION;
    const answer = isSaid ? mayCreate : () => this.#mayCreate(request, id, deadline);
    return (await opened.open(id, answer, deadline)) ?? 0;
  }

  /** Asks the plugin, which may look at all its data: the time of the request begins anew with the answer. */
  async #mayCreate(request: number, id: KeyId, deadline: Deadline): Promise<boolean> {
    if (deadline.signal.aborted) throw new KeyError('TIMEOUT', `key ${id} is not created: the time allowed is over`);
    if (this.#questions.has(request)) throw new KeyError('PROTOCOL', `open: request ${request} is under way already`);
    if (this.#questions.size >= MOST_QUESTIONS) {
      throw new KeyError('TIMEOUT', `key ${id} is not created: ${MOST_QUESTIONS} others wait for a look at the data`);
    }
    deadline.pause();
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#questions.set(request, resolve);
    this.#connection.lookAgain();
    this.#connection.send(request, { type: 'question', id });
    try {
      const answer = await unlessAborted(promise, deadline.signal, () => undefined);
      deadline.restart(answer.deadlineMs);
      return answer.mayCreate;
    } finally {
      this.#questions.delete(request);
    }
  }

  async #load({ loader }: Opened, deadline: Deadline): Promise<readonly [number, number]> {
    const { keys, versions, retrying } = await loader.load(deadline);
    this.#staysFor(retrying);
    return [keys, versions];
  }

  async #check(opened: Opened, deadline: Deadline): Promise<readonly [number, number]> {
    const { state, daysLeft, troubles } = await opened.checkMasterKeys(deadline);
    for (const { severity, text } of troubles) this.#log(severity, text);
    await opened.keyring.warnOfShrunkStore();
    this.#connection.send(0, { type: 'masterKey', state, daysLeft });
    return [0, 0];
  }

  #log(severity: Severity, text: string): void {
    this.#connection.send(0, { type: 'log', severity, text: this.#parts.redact(text) });
  }

  #fail(request: number, { code, message, hint }: KeyError): void {
    const { redact } = this.#parts;
    this.#connection.send(request, { type: 'fail', code, message: redact(message), hint: redact(hint) });
  }

  #count(counter: Counter): void {
    this.#counters.set(counter, (this.#counters.get(counter) ?? 0) + 1);
  }

  #sendStats(): void {
    if (this.#counters.size === 0) return;
    this.#connection.send(0, { type: 'stats', increases: new Map(this.#counters) });
    this.#counters.clear();
  }

  #awaitHello(): void {
    const { helloTimeoutMs, clock } = this.#parts;
    if (helloTimeoutMs === undefined) return;
    clock.sleep(helloTimeoutMs, this.#greeting.signal).then(
      () => this.#connection.drop(new KeyError('PROTOCOL', `no HELLO came within ${helloTimeoutMs / 1000} s`)),
      () => undefined,
    );
  }
}

/**
 * The protocol of the connection: the plugin's, or this agent's latest where the plugin's is later. A plugin that does not
 * speak it says so.
 * @throws KeyError PROTOCOL
 */
function spokenWith({ protocol, held }: Extract<PluginMessage, { type: 'hello' }>): number {
  if (protocol < OLDEST_PROTOCOL_VERSION) {
    const spoken = `this agent ${PROTOCOL_VERSION} and ${OLDEST_PROTOCOL_VERSION}`;
    throw new KeyError('PROTOCOL', `the plugin speaks protocol ${protocol}, ${spoken}`, {
      hint: 'the plugin is the older one: upgrade its package to the release of the agent, and restart the server',
    });
  }
  if (held > MOST_HELD) {
    throw new KeyError('PROTOCOL', `hello: expected at most ${MOST_HELD} key versions, got ${held}`);
  }
  return Math.min(protocol, PROTOCOL_VERSION);
}

function unknownSettings(names: readonly string[]): string {
  const [first = '', ...others] = names;
  const list = others.length === 0 ? first : `${first} and ${others.length} more`;
  return `the plugin sent settings that this agent does not know and ignores: ${list}; the plugin is the newer one: upgrade the package of the agent to its release`;
}

/** Either side closed the connection, and nothing is lost. */
function isDisconnect(error: unknown): boolean {
  return ['ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET', 'EPIPE'].includes(systemErrorCode(error) ?? '');
}
