import type { Duplex } from 'node:stream';
import { wipe } from '../bytes.ts';
import { KeyError } from '../errors.ts';
import { type Frame, FrameDecoder } from '../format/frames.ts';
import { type AgentMessage, encodeAgentMessage } from '../format/messages.ts';
import { nextTurn } from '../next-turn.ts';

/** The most bytes that the plugin has not read yet; beyond it no further request is read. */
const MOST_UNREAD_BYTES = 1_048_576;

/**
 * Turns of the event loop for which a message without a request waits for others. Turns of an idle loop take no time;
 * those of a busy one bring the other messages.
 */
const MOST_TURNS = 8;
/** The bytes that are sent at once: each write wakes the plugin, and costs as much as making a hundred messages. */
const ENOUGH_BYTES = 8_192;

/** The stream of one plugin: frames in, messages out. Sent bytes are wiped. */
export class Connection {
  readonly #stream: Duplex;
  readonly #decoder = new FrameDecoder();
  #outbox: Buffer[] = [];
  #outboxBytes = 0;
  /** True: the outbox has an answer, which somebody waits for. */
  #hasAnswer = false;
  /** Ends the wait in `room`. */
  #lookAgain = (): void => undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    for (const event of ['drain', 'close']) stream.on(event, () => this.lookAgain());
  }

  get isClosed(): boolean {
    return this.#stream.destroyed;
  }

  /**
   * Passes each frame to `receive`, one after the other, until the stream ends.
   * @param isFull true: no further frame is passed on
   * @throws KeyError PROTOCOL, what `receive` throws, and the stream's errors as they come
   */
  async read(isFull: () => boolean, receive: (frame: Frame) => Promise<void>): Promise<void> {
    for await (const chunk of this.#stream) {
      for (const frame of this.#decoder.feed(chunk)) {
        await this.#room(isFull);
        if (!this.isClosed) await receive(frame);
      }
    }
    if (this.#decoder.isInsideFrame) throw new KeyError('PROTOCOL', 'the plugin closed the connection inside a frame');
  }

  /** Call it when `isFull` may have changed. */
  lookAgain(): void {
    this.#lookAgain();
  }

  /** Sends a message together with others of the next turns of the event loop: a start sends thousands of keys. */
  send(request: number, message: AgentMessage): void {
    if (!this.#stream.writable) return;
    if (this.#outbox.length === 0) void this.#flushSoon();
    const frame = encodeAgentMessage(request, message);
    this.#outbox.push(frame);
    this.#outboxBytes += frame.length;
    this.#hasAnswer ||= request !== 0;
  }

  async #flushSoon(): Promise<void> {
    for (let turn = 0; turn < MOST_TURNS; turn += 1) {
      await nextTurn();
      if (this.#hasAnswer || this.#outboxBytes >= ENOUGH_BYTES) break;
    }
    this.#flush();
  }

  /** Sends waiting messages, and closes the stream. */
  close(): void {
    this.#flush();
    this.#stream.destroy();
  }

  /** Closes the stream, which ends `read`. @param error thrown by `read` */
  drop(error?: KeyError): void {
    this.#stream.destroy(error);
  }

  /** Waits until another request may be read: none is read while the plugin does not read answers. */
  async #room(isFull: () => boolean): Promise<void> {
    while (!this.isClosed && (isFull() || this.#stream.writableLength > MOST_UNREAD_BYTES)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#lookAgain = resolve;
      await promise;
    }
  }

  #flush(): void {
    const frames = this.#outbox;
    if (frames.length === 0) return;
    this.#outbox = [];
    this.#outboxBytes = 0;
    this.#hasAnswer = false;
    const bytes = Buffer.concat(frames);
    for (const frame of frames) wipe(frame);
    // A failed write shows as the end of the stream, which `read` handles.
    this.#stream.write(bytes, () => wipe(bytes));
  }
}
