/** An HTTP server on loopback that stands in for an engine where a test needs answers that a sound engine never gives. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
  body: Record<string, unknown>;
}

export type Answer = { status?: number; body?: unknown; headers?: Record<string, string> };
export type Answering = (asked: Asked, response: ServerResponse) => Answer | void;

/** `asked`: all requests so far. `answering` says what comes back, or writes it itself and returns nothing. */
export class Engine {
  readonly asked: Asked[] = [];
  answering: Answering = () => ({ status: 404, body: { code: 'not_found', detail: 'nothing is here' } });
  #server: Server;
  #waiting: (() => void)[] = [];

  constructor() {
    this.#server = createServer((request, response) => void this.#take(request, response));
  }

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Resolves when that many requests have come. */
  async until(count: number): Promise<void> {
    while (this.asked.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const asked: Asked = {
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      body: text ? (JSON.parse(text) as Record<string, unknown>) : {},
    };
    this.asked.push(asked);
    for (const wake of this.#waiting.splice(0)) wake();
    const answer = this.answering(asked, response);
    if (!answer) return;
    response.writeHead(answer.status ?? 200, { 'content-type': 'application/json', ...answer.headers });
    response.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body));
  }
}

/** A line of an event stream. */
export function sse(position: number, kind = 'job_started', more: Record<string, unknown> = {}): string {
  const event = {
    position,
    id: `evt_${position}`,
    kind,
    at: '2026-11-26T01:02:03.004Z',
    job_id: 'job_01jd3k5m7p9r1t3v5x7z9b1d3f',
    node_id: '',
    data: {},
    ...more,
  };
  return `id: ${position}\r\nevent: ${kind}\r\ndata: ${JSON.stringify(event)}\r\n\r\n`;
}
