import type { Socket } from 'node:net';
import { helloSettings } from '../../harness/hello-settings.ts';
import { FrameDecoder } from '../../src/format/frames.ts';
import {
  type AgentMessage,
  encodePluginMessage,
  type PluginMessage,
  PROTOCOL_VERSION,
  parseAgentMessage,
} from '../../src/format/messages.ts';
import { until } from './scratch.ts';

/** Speaks with an agent as a plugin does. */
export class PluginEnd {
  readonly received: { readonly request: number; readonly message: AgentMessage }[] = [];
  readonly socket: Socket;
  readonly #decoder = new FrameDecoder();

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      for (const frame of this.#decoder.feed(chunk)) {
        this.received.push({ request: frame.request, message: parseAgentMessage(frame) });
      }
    });
  }

  send(request: number, message: PluginMessage): void {
    this.socket.write(encodePluginMessage(request, message));
  }

  /** The frame that answers the request. */
  async answerTo(request: number): Promise<AgentMessage> {
    const find = () => this.received.find((each) => each.request === request)?.message;
    await until(`request ${request} is answered`, () => find() !== undefined || this.socket.destroyed, 60);
    const found = find();
    if (found === undefined) throw new Error(`the agent closed before it answered request ${request}`);
    return found;
  }

  async ask(request: number, message: PluginMessage): Promise<AgentMessage> {
    this.send(request, message);
    return await this.answerTo(request);
  }

  async hello(settings: Readonly<Record<string, string>> = {}): Promise<AgentMessage> {
    return await this.ask(1, {
      type: 'hello',
      protocol: PROTOCOL_VERSION,
      role: 'server',
      held: 0,
      settings: helloSettings(settings),
    });
  }
}
