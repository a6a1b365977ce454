/** Reads server-sent events (WHATWG HTML, section 9.2) out of a stream of bytes. */

/** `id` as the stream stands at this message; `event` is "message" where none was named. */
export interface SseMessage {
  id: string;
  event: string;
  data: string;
}

/**
 * What the stream holds, comments aside; ends with it, or with `signal`. `heard` is called whenever bytes come, comments
 * too.
 */
export async function* messages(
  stream: ReadableStream<Uint8Array>,
  heard: () => void = () => {},
  signal?: AbortSignal,
): AsyncGenerator<SseMessage> {
  let id = '';
  let event = '';
  let data: string[] = [];
  for await (const line of lines(stream, heard, signal)) {
    if (line === '') {
      if (data.length > 0) yield { id, event: event || 'message', data: data.join('\n') };
      event = '';
      data = [];
      continue;
    }
    const colon = line.indexOf(':');
    if (colon === 0) continue;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') data.push(value);
    else if (field === 'event') event = value;
    else if (field === 'id' && !value.includes('\0')) id = value;
  }
}

/** Lines end with CR LF, LF or CR; one that the stream's end cuts off is none. */
async function* lines(
  stream: ReadableStream<Uint8Array>,
  heard: () => void,
  signal: AbortSignal | undefined,
): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8');
  let rest = '';
  for await (const value of chunks(stream, signal)) {
    heard();
    rest += decoder.decode(value, { stream: true });
    // A CR at the end may be the first half of a CR LF.
    const whole = /\r$/.test(rest) ? rest.slice(0, -1) : rest;
    const found = whole.split(/\r\n|\n|\r/);
    rest = (found.pop() ?? '') + rest.slice(whole.length);
    yield* found;
  }
}

/**
 * The stream's bytes up to its end or that of `signal`. The signal of a request is not enough: once Node has collected
 * the Response as garbage, it does not reach the body any more, and whoever reads waits for ever.
 */
export async function* chunks(
  stream: ReadableStream<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  const end = (): void => void reader.cancel().catch(() => {});
  signal?.addEventListener('abort', end);
  if (signal?.aborted) end();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    signal?.removeEventListener('abort', end);
    end();
  }
}
