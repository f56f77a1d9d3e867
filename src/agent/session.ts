import type { Duplex } from 'node:stream';
import { wipe } from '../bytes.ts';
import type { Clock, Random } from '../clock.ts';
import type { FileSystem } from '../disk/file-system.ts';
import { KeyError, systemErrorCode, toKeyError } from '../errors.ts';
import { mergeAlike } from '../format/alike.ts';
import { type Frame, FrameDecoder } from '../format/frames.ts';
import type { KeyName } from '../format/key-file-name.ts';
import {
  type AgentMessage,
  type Counter,
  encodeAgentMessage,
  MOST_HELD,
  OLDEST_PROTOCOL_VERSION,
  type PluginMessage,
  PROTOCOL_VERSION,
  parsePluginMessage,
  type Role,
} from '../format/messages.ts';
import type { KeyId, KeyVersion } from '../ids.ts';
import { useMasterKeys } from '../keyring/daily-use.ts';
import { type KeyFailure, Keyring, type KeyringEvents } from '../keyring/keyring.ts';
import { checkMasterKeys } from '../keyring/master-keys.ts';
import { retryMissingKeys } from '../keyring/missing.ts';
import { NEVER_DROP, stillWrapped, withHint } from '../keyring/refusals.ts';
import { changeSetting, parseSettings, type Settings } from '../keyring/settings.ts';
import { KeyDirectory } from '../keystore/directory.ts';
import { KEYS_FOR_CALLER, KEYS_OF_SERVER, type Named } from '../keystore/failures.ts';
import { KmsCaller, START_SPREAD_MS } from '../kms/caller.ts';
import type { KmsClients } from '../kms/client.ts';
import { type Deadline, startDeadline } from '../kms/retry.ts';
import { hintedForBackup } from './backup-environment.ts';
import { createKmsLog } from './kms-log.ts';

export interface SessionParts {
  readonly agentVersion: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly fileSystem: FileSystem;
  /** Undefined: the plugin named the key directory. */
  readonly keysNamed?: Named | undefined;
  readonly connectKms: (settings: Settings) => Promise<KmsClients>;
  /** What this agent was told when it was started overrules what the plugin asks for. */
  readonly overrideSettings: (settings: Settings) => Settings;
  /** Takes secrets, and what a terminal would obey, out of a text that is about to leave the process. */
  readonly redact: (text: string) => string;
  /** A connection whose HELLO has not come by then is closed; undefined: never. */
  readonly helloTimeoutMs?: number | undefined;
  /** Ends a session in which nothing has been asked and nothing is missing for so long; undefined: never. */
  readonly idleTimeoutMs: number | undefined;
}

/**
 * Requests of one plugin that are worked on at a time; the next ones stay unread. A plugin asks for each key once at a time,
 * in its server's statements, so that it does not come near this number.
 */
export const MOST_REQUESTS_AT_ONCE = 256;
/** What a plugin has not read yet. While it is more, no further request is read. */
const MOST_UNREAD_BYTES = 1_048_576;

type Request = Exclude<PluginMessage, { type: 'hello' | 'held' | 'set' }>;

interface Opened {
  readonly role: Role;
  readonly protocol: number;
  readonly settings: Settings;
  readonly keyring: Keyring;
  readonly store: KeyDirectory;
  readonly clients: KmsClients;
  readonly kms: KmsCaller;
  /** As the plugin's process must read it. */
  readonly hinted: (error: KeyError) => KeyError;
}

/** One plugin's connection, from HELLO to the end of the stream. */
export class Session {
  readonly #stream: Duplex;
  readonly #parts: SessionParts;
  readonly #decoder = new FrameDecoder();
  readonly #ending = new AbortController();
  readonly #counters = new Map<Counter, number>();
  #opened: Opened | undefined;
  #helloSeen = false;
  /** Key versions of the plugin that HELD has not named yet. */
  #unnamed = 0;
  #busy = 0;
  /** Requests under way. None of them rejects. */
  readonly #answering = new Set<Promise<void>>();
  /** Stored versions that are tried again and again until they open. */
  #missing: readonly KeyFailure[] = [];
  #idleTimer = new AbortController();
  /** Ends the wait for HELLO. */
  readonly #greeting = new AbortController();
  #outbox: Buffer[] = [];
  /** Ends the wait for room. */
  #lookAgain = (): void => undefined;
  /** Of the versions that the last LOAD left wrapped. */
  #retrying = new AbortController();

  constructor(stream: Duplex, parts: SessionParts) {
    this.#stream = stream;
    this.#parts = parts;
    for (const event of ['drain', 'close']) stream.on(event, () => this.#lookAgain());
  }

  /**
   * Serves the plugin until either side closes.
   * @throws KeyError PROTOCOL when the plugin broke the protocol; the stream is closed then
   */
  async run(): Promise<void> {
    this.#restartIdleTimer();
    this.#awaitHello();
    try {
      for await (const chunk of this.#stream) {
        for (const frame of this.#decoder.feed(chunk)) {
          await this.#room();
          if (!this.#stream.destroyed) await this.#receive(frame);
        }
      }
      if (this.#decoder.isInsideFrame)
        throw new KeyError('PROTOCOL', 'the plugin closed the connection inside a frame');
    } catch (error) {
      if (!isDisconnect(error)) throw toKeyError(error);
    } finally {
      this.#ending.abort(new Error('the connection has ended'));
      this.#idleTimer.abort();
      this.#greeting.abort();
      this.#retrying.abort();
      this.#flush();
      this.#stream.destroy();
      const keyring = this.#opened?.keyring;
      keyring?.close();
      // They give up at once, and take their temporary files with them.
      await Promise.all([...this.#answering, keyring?.sealing]);
      for (const client of this.#opened?.clients ?? []) client.close();
    }
  }

  /** Until another request may be taken. Whoever sends more, or reads no answers, is not read meanwhile. */
  async #room(): Promise<void> {
    while (
      !this.#stream.destroyed &&
      (this.#answering.size >= MOST_REQUESTS_AT_ONCE || this.#stream.writableLength > MOST_UNREAD_BYTES)
    ) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#lookAgain = resolve;
      await promise;
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
      this.#hold(opened.keyring, message.names);
      return;
    }
    if (this.#unnamed > 0)
      throw new KeyError('PROTOCOL', `${message.type}: HELD must name ${this.#unnamed} more first`);
    if (message.type === 'set') {
      this.#set(opened.settings, message.name, message.value);
      return;
    }
    if (message.type === 'use' && (opened.role !== 'server' || opened.protocol === OLDEST_PROTOCOL_VERSION))
      throw new KeyError('PROTOCOL', 'use: only a server asks for it, from protocol 2 on');
    // Requests overlap: the next frame is read while this one is worked on.
    const answering = this.#answer(frame.request, message, opened).finally(() => {
      this.#answering.delete(answering);
      this.#lookAgain();
    });
    this.#answering.add(answering);
  }

  async #hello(request: number, hello: Extract<PluginMessage, { type: 'hello' }>): Promise<void> {
    if (this.#helloSeen) throw new KeyError('PROTOCOL', 'hello: it comes once');
    this.#helloSeen = true;
    this.#greeting.abort();
    try {
      checkProtocol(hello);
      const isNamed = hello.protocol > OLDEST_PROTOCOL_VERSION;
      const settings = this.#parts.overrideSettings(parseSettings(hello.settings));
      const { clock, random, fileSystem } = this.#parts;
      const clients = await this.#parts.connectKms(settings);
      const observer = createKmsLog({
        logLevel: () => settings.logLevel,
        clock,
        log: (severity, text) => this.#log(severity, text),
        count: (counter) => this.#count(counter),
      });
      const named = this.#parts.keysNamed ?? (hello.role === 'backup' ? KEYS_FOR_CALLER : KEYS_OF_SERVER);
      const store = new KeyDirectory(settings.keyfileDir, fileSystem, clock, random, named);
      const kms = new KmsCaller(clients, clock, random, observer, START_SPREAD_MS);
      const keyring = new Keyring({
        role: hello.role,
        unnamedHeld: isNamed ? 0 : hello.held,
        settings,
        store,
        kms,
        clock,
        events: this.#events(),
      });
      const hinted = hello.role === 'backup' ? hintedForBackup : (error: KeyError) => error;
      const { role, protocol } = hello;
      this.#opened = { role, protocol, settings, keyring, store, clients, kms, hinted };
      this.#unnamed = isNamed ? hello.held : 0;
      this.#send(request, { type: 'welcome', protocol: hello.protocol, agentVersion: this.#parts.agentVersion });
      if (settings.mock) {
        this.#log(
          'warning',
          'MOCK MODE: keys are wrapped with key material that lies beside them; this protects nothing',
        );
        if (settings.sealedKeyRing) this.#log('note', 'in mock mode there is no sealed key ring');
      }
    } catch (thrown) {
      this.#fail(request, toKeyError(thrown));
    }
  }

  #hold(keyring: Keyring, names: readonly KeyName[]): void {
    if (names.length > this.#unnamed) {
      throw new KeyError('PROTOCOL', `held: expected at most ${this.#unnamed} key versions, got ${names.length}`);
    }
    this.#unnamed -= names.length;
    keyring.hold(names);
  }

  #events(): KeyringEvents {
    return {
      announce: (name, current, algorithm, bytes) => {
        this.#send(0, { type: 'key', id: name.id, version: name.version, current, algorithm, bytes });
      },
      log: (severity, text) => this.#log(severity, text),
      count: (counter) => this.#count(counter),
    };
  }

  #set(settings: Settings, name: string, value: string): void {
    try {
      changeSetting(settings, name, value);
    } catch (thrown) {
      const error = toKeyError(thrown);
      if (error.code === 'PROTOCOL') throw error;
      this.#log('error', withHint(error));
    }
  }

  async #answer(request: number, message: Request, opened: Opened): Promise<void> {
    this.#busy += 1;
    this.#idleTimer.abort();
    const deadline = startDeadline(this.#parts.clock, message.deadlineMs, this.#ending.signal);
    try {
      const [first, second] = await this.#perform(message, opened, deadline);
      this.#sendStats();
      this.#send(request, { type: 'done', first, second });
    } catch (thrown) {
      this.#sendStats();
      this.#fail(request, opened.hinted(toKeyError(thrown)));
    } finally {
      deadline.cancel();
      this.#staysFor(opened.keyring.sealing);
      this.#busy -= 1;
      this.#restartIdleTimer();
    }
  }

  #staysFor(sealing: Promise<void> | undefined): void {
    if (sealing === undefined) return;
    this.#busy += 1;
    void sealing.then(() => {
      this.#sendStats();
      this.#busy -= 1;
      this.#restartIdleTimer();
    });
  }

  async #perform(message: Request, opened: Opened, deadline: Deadline): Promise<readonly [number, number]> {
    const { keyring } = opened;
    switch (message.type) {
      case 'load':
        return await this.#load(opened, deadline);
      case 'open':
        this.#refuseMissing(message.id);
        return [message.id, await keyring.open(message.id, message.mayCreate, deadline)];
      case 'fetch':
        this.#refuseMissing(message.id, message.version);
        await keyring.fetch(message, deadline);
        return [message.id, message.version];
      case 'check':
        return await this.#check(opened, deadline);
      case 'use':
        return await this.#use(opened, deadline);
      case 'rotate':
        if (message.id === 'all') return [0, await keyring.rotateAll(deadline)];
        return [message.id, await keyring.rotate(message.id, deadline)];
    }
  }

  async #load({ keyring, settings, hinted }: Opened, deadline: Deadline): Promise<readonly [number, number]> {
    const { keys, versions, failures } = await keyring.loadAll(deadline);
    if (failures.length === 0) {
      // What an earlier LOAD missed, this one has loaded.
      this.#retrying.abort();
      if (this.#missing.length > 0) this.#reportMissing([]);
      return [keys, versions];
    }
    for (const error of mergeAlike(failures.map(({ error }) => hinted(error)))) this.#log('error', withHint(error));
    const count = `${failures.length} of ${versions} stored key versions cannot be unwrapped`;
    const [first] = failures;
    if (!settings.allowMissingKeys) {
      throw new KeyError('KEYS_FAILED', `${count}; the first: ${first?.error.message}`, {
        hint: 'each is listed above with its cause; aws_key_management_allow_missing_keys=ON starts without them, and data encrypted with them cannot be read until they load',
      });
    }
    this.#log(
      'warning',
      `${count}; starting without them, as aws_key_management_allow_missing_keys says, and going on trying; ${NEVER_DROP}`,
    );
    this.#reportMissing(failures);
    this.#retryMissing(keyring, failures);
    return [keys, versions - failures.length];
  }

  async #check(opened: Opened, deadline: Deadline): Promise<readonly [number, number]> {
    const { state, daysLeft, troubles } = await checkMasterKeys({ ...opened, clock: this.#parts.clock }, deadline);
    for (const { severity, text } of troubles) this.#log(severity, text);
    await opened.keyring.warnOfShrunkStore();
    this.#send(0, { type: 'masterKey', state, daysLeft });
    return [0, 0];
  }

  /** In mock mode there is no master key that anybody would delete. */
  async #use(opened: Opened, deadline: Deadline): Promise<readonly [number, number]> {
    const refusals = opened.settings.mock ? [] : await useMasterKeys(opened, deadline);
    for (const text of refusals) this.#log('warning', text);
    return [0, 0];
  }

  #retryMissing(keyring: Keyring, failures: readonly KeyFailure[]): void {
    const { clock, random } = this.#parts;
    const report = (still: readonly KeyFailure[]): void => {
      this.#reportMissing(still);
      this.#sendStats();
      if (still.length === 0) this.#log('note', 'every stored key version is loaded now');
    };
    this.#busy += 1;
    // What an earlier LOAD missed, this one has tried, too.
    this.#retrying.abort();
    this.#retrying = new AbortController();
    void retryMissingKeys(
      failures.map(({ name }) => name),
      { keyring, clock, random, report },
      this.#retrying.signal,
    ).finally(() => {
      this.#busy -= 1;
      this.#restartIdleTimer();
    });
  }

  /**
   * Whoever needs a missing version is not made to wait for KMS: the server may hold locks that others want meanwhile.
   * @throws KeyError KEY_STILL_WRAPPED
   */
  #refuseMissing(id: KeyId, version?: KeyVersion): void {
    // The agent that a plugin of protocol 1 knows asks KMS once more.
    if (this.#opened?.protocol === OLDEST_PROTOCOL_VERSION) return;
    const missing = this.#missing.find(({ name }) => name.id === id && (version ?? name.version) === name.version);
    if (missing !== undefined) throw stillWrapped(missing.name, missing.error);
  }

  #reportMissing(failures: readonly KeyFailure[]): void {
    this.#missing = failures;
    this.#send(0, { type: 'missing', versions: failures.length });
  }

  #log(severity: 'error' | 'warning' | 'note', text: string): void {
    this.#send(0, { type: 'log', severity, text: this.#parts.redact(text) });
  }

  #fail(request: number, { code, message, hint }: KeyError): void {
    const { redact } = this.#parts;
    this.#send(request, { type: 'fail', code, message: redact(message), hint: redact(hint) });
  }

  #count(counter: Counter): void {
    this.#counters.set(counter, (this.#counters.get(counter) ?? 0) + 1);
  }

  #sendStats(): void {
    if (this.#counters.size === 0) return;
    this.#send(0, { type: 'stats', increases: new Map(this.#counters) });
    this.#counters.clear();
  }

  /** What is sent until the next look at the sockets goes out in one piece: thousands of keys at a start. */
  #send(request: number, message: AgentMessage): void {
    if (!this.#stream.writable) return;
    if (this.#outbox.length === 0) setImmediate(() => this.#flush());
    this.#outbox.push(encodeAgentMessage(request, message));
  }

  #flush(): void {
    const frames = this.#outbox;
    if (frames.length === 0) return;
    this.#outbox = [];
    const bytes = Buffer.concat(frames);
    for (const frame of frames) wipe(frame);
    // A failed write shows as the end of the stream, which run() handles.
    this.#stream.write(bytes, () => wipe(bytes));
  }

  #awaitHello(): void {
    const { helloTimeoutMs, clock } = this.#parts;
    if (helloTimeoutMs === undefined) return;
    clock.sleep(helloTimeoutMs, this.#greeting.signal).then(
      () => this.#stream.destroy(new KeyError('PROTOCOL', `no HELLO came within ${helloTimeoutMs / 1000} s`)),
      () => undefined,
    );
  }

  #restartIdleTimer(): void {
    const { idleTimeoutMs, clock } = this.#parts;
    if (idleTimeoutMs === undefined || this.#busy > 0 || this.#ending.signal.aborted) return;
    this.#idleTimer.abort();
    this.#idleTimer = new AbortController();
    const { signal } = this.#idleTimer;
    clock.sleep(idleTimeoutMs, signal).then(
      () => {
        if (this.#busy === 0 && !signal.aborted) this.#stream.destroy();
      },
      () => undefined,
    );
  }
}

/** @throws KeyError PROTOCOL */
function checkProtocol({ protocol, held }: Extract<PluginMessage, { type: 'hello' }>): void {
  if (protocol < OLDEST_PROTOCOL_VERSION || protocol > PROTOCOL_VERSION) {
    const spoken = `this agent ${OLDEST_PROTOCOL_VERSION} to ${PROTOCOL_VERSION}`;
    throw new KeyError('PROTOCOL', `the plugin speaks protocol ${protocol}, ${spoken}`, {
      hint: 'install plugin and agent of the same release; a running server needs a restart after an upgrade',
    });
  }
  if (protocol > OLDEST_PROTOCOL_VERSION && held > MOST_HELD) {
    throw new KeyError('PROTOCOL', `hello: expected at most ${MOST_HELD} key versions, got ${held}`);
  }
}

/** The peer went away, or we did: either way nothing is lost. */
function isDisconnect(error: unknown): boolean {
  return ['ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET', 'EPIPE'].includes(systemErrorCode(error) ?? '');
}
