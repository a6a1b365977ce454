/** Follows the account's events for as long as the agent runs, and emits them in its runtime. */
import { createHash } from 'node:crypto';
import { type IAgentRuntime, Service } from '@elizaos/core';
import { type FeedEvent, HypernodeClient } from './client.js';
import { endingAfter } from './ending.js';
import { emit, EVENTS_MISSED, tell } from './events.js';
import { isObject, messageOf, problemOf } from './problems.js';
import { configured, type Settings, settingsOf } from './settings.js';
import { messages } from './sse.js';

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const STOP_MS = 5_000;
/** The engine says something every 15 s. */
const SILENCE_MS = 50_000;

/** `firstPauseMs`, `silenceMs`: for tests and for engines behind slow proxies. */
export interface FollowerOptions {
  firstPauseMs?: number;
  silenceMs?: number;
}

export class HypernodeService extends Service {
  static override serviceType = 'hypernode';
  static options: FollowerOptions = {};
  override capabilityDescription = "Follows the agent's GPU jobs on the Hypernode network and emits what happens to them";

  #position = -1;
  #kept = -1;
  #keeping: Promise<void> | null = null;
  #cacheKey = '';
  #expired = false;
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();

  static override async start(runtime: IAgentRuntime): Promise<HypernodeService> {
    const service = new HypernodeService(runtime);
    if (configured(runtime)) service.#begin();
    return service;
  }

  /** Events up to this position were emitted; -1 before the first look at the feed. */
  get position(): number {
    return this.#position;
  }

  /** Ends the stream and waits for the event that is being handled, though not for a handler that hangs. */
  override async stop(): Promise<void> {
    this.#stopping.abort();
    const waited = endingAfter(STOP_MS);
    const late = new Promise<void>((resolve) => waited.signal.addEventListener('abort', () => resolve()));
    await Promise.race([this.#running, late]);
    waited.done();
  }

  #begin(): void {
    let settings: Settings;
    try {
      settings = settingsOf(this.runtime);
    } catch (thrown) {
      this.runtime.logger.error({ src: 'plugin:hypernode', error: messageOf(thrown) }, 'Events are not followed');
      return;
    }
    if (settings.events) this.#running = this.#follow(settings);
  }

  async #follow(settings: Settings): Promise<void> {
    const { apiKey, url } = settings;
    const client = new HypernodeClient({ apiKey, url, ...(this.runtime.fetch ? { fetch: this.runtime.fetch } : {}) });
    const account = createHash('sha256').update(`${url}\n${apiKey}`).digest('hex').slice(0, 16);
    this.#cacheKey = `hypernode:position:${account}`;
    const first = HypernodeService.options.firstPauseMs ?? FIRST_PAUSE_MS;
    let pause = first;
    while (!this.#stopping.signal.aborted) {
      const before = this.#position;
      try {
        if (this.#position < 0) this.#position = await this.#start(client);
        await this.#read(client);
      } catch (thrown) {
        if (!this.#stopping.signal.aborted) await this.#failed(thrown);
      }
      await this.#keeping;
      pause = this.#position > before ? first : Math.min(pause * 2, LONGEST_PAUSE_MS);
      // Half of it by chance: agents do not all come back at once after a restart of the engine.
      await this.#sleep(pause * (0.5 + Math.random() / 2));
    }
  }

  /** Where the last run of this agent ended, or the feed's present end. */
  async #start(client: HypernodeClient): Promise<number> {
    const kept = this.#expired ? undefined : await this.runtime.getCache(this.#cacheKey).catch(() => undefined);
    const { latest } = await client.events('latest', 1, this.#stopping.signal);
    const position = isObject(kept) && Number.isSafeInteger(kept.position) ? Number(kept.position) : latest;
    // Past the end: the engine's database is another one.
    return position <= latest ? position : latest;
  }

  /** Notes how far it has come, one write at a time; what it could not note is told again after a restart. */
  #keep(): void {
    this.#keeping ??= this.#write().finally(() => {
      this.#keeping = null;
    });
  }

  async #write(): Promise<void> {
    while (this.#kept < this.#position) {
      this.#kept = this.#position;
      await this.runtime.setCache(this.#cacheKey, { position: this.#kept }).catch(() => false);
    }
  }

  /** Returns when the stream ends, or nothing was heard for too long. */
  async #read(client: HypernodeClient): Promise<void> {
    const ending = endingAfter(HypernodeService.options.silenceMs ?? SILENCE_MS, this.#stopping.signal);
    try {
      const stream = await client.stream(this.#position, ending.signal);
      for await (const message of messages(stream, ending.later, ending.signal)) {
        await this.#take(message.data);
        if (this.#stopping.signal.aborted) return;
      }
    } finally {
      ending.done();
    }
  }

  async #take(data: string): Promise<void> {
    const event = eventFrom(data);
    if (event === null) {
      this.runtime.logger.warn({ src: 'plugin:hypernode' }, 'An event that cannot be read is left out');
      return;
    }
    if (event.position <= this.#position) return;
    await emit(this.runtime, event);
    this.#position = event.position;
    this.#keep();
  }

  async #failed(thrown: unknown): Promise<void> {
    const { code, status, detail } = problemOf(thrown);
    if (status === 410) {
      const after = this.#position;
      this.#position = -1;
      this.#expired = true;
      await tell(this.runtime, EVENTS_MISSED, { type: EVENTS_MISSED, text: detail, payload: { after } });
    }
    this.runtime.logger.debug({ src: 'plugin:hypernode', code, detail }, 'The event stream ended');
  }

  async #sleep(ms: number): Promise<void> {
    const signal = this.#stopping.signal;
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, ms);
      function done(): void {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      }
      signal.addEventListener('abort', done);
    });
  }
}

/** The event, if it is one. */
export function eventFrom(data: string): FeedEvent | null {
  try {
    const found: unknown = JSON.parse(data);
    if (!isObject(found) || !Number.isSafeInteger(found.position) || typeof found.id !== 'string') return null;
    if (typeof found.kind !== 'string' || found.kind === '') return null;
    const text = (value: unknown): string => (typeof value === 'string' ? value : '');
    return {
      position: Number(found.position),
      id: found.id,
      kind: found.kind,
      at: text(found.at),
      job_id: text(found.job_id),
      node_id: text(found.node_id),
      data: isObject(found.data) ? found.data : {},
    };
  } catch {
    return null;
  }
}
