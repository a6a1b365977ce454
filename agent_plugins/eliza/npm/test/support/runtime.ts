/** Real ElizaOS agents: a real AgentRuntime on a real database (PGlite, in memory), with a model that is told what to say. */
import { randomUUID } from 'node:crypto';
import {
  AgentRuntime,
  ChannelType,
  createUniqueUuid,
  type Character,
  type IAgentRuntime,
  type IDatabaseAdapter,
  type Memory,
  ModelType,
  type Plugin,
  stringToUuid,
  type UUID,
} from '@elizaos/core';
import bootstrap from '@elizaos/plugin-bootstrap';
import sql, { createDatabaseAdapter } from '@elizaos/plugin-sql';

/** Answers a prompt; a prompt that it does not know is a mistake of the test. */
export type Model = (prompt: string) => string;

const DIMENSION = 384;

/** An agent with these settings (secrets among them) and plugins; `runtime.stop()` ends its services. */
export async function agent(
  settings: Record<string, unknown>,
  plugins: Plugin[],
  model: Model = unasked,
): Promise<AgentRuntime> {
  const name = `Tester ${randomUUID()}`;
  const agentId = stringToUuid(name);
  const runtime = new AgentRuntime({
    character: { name, bio: ['A test.'], settings } as Character,
    agentId,
    adapter: await database(agentId),
    plugins: [bootstrap, told(model), ...plugins],
    settings: { EMBEDDING_DIMENSION: String(DIMENSION) },
  });
  await runtime.initialize({ skipMigrations: true });
  return runtime;
}

const SCHEMA = [{ name: sql.name, schema: sql.schema as Record<string, Record<string, unknown>> }];
let migrated: Promise<void> | undefined;

/** All agents of a process share one database. */
async function database(agentId: UUID): Promise<IDatabaseAdapter> {
  const adapter = createDatabaseAdapter({ dataDir: 'memory://' }, agentId);
  migrated ??= adapter.init().then(() => adapter.runPluginMigrations?.(SCHEMA));
  await migrated;
  return adapter;
}

function told(model: Model): Plugin {
  const answer = async (_: IAgentRuntime, { prompt }: { prompt: string }): Promise<string> => model(prompt);
  return {
    name: 'model-stub',
    description: 'A model that says what the test says.',
    models: {
      [ModelType.TEXT_SMALL]: answer,
      [ModelType.TEXT_LARGE]: answer,
      [ModelType.TEXT_EMBEDDING]: async () => new Array<number>(DIMENSION).fill(0),
    },
  };
}

function unasked(prompt: string): never {
  throw new Error(`the model was not to be asked: ${prompt.slice(0, 200)}`);
}

/** A message of a user of their own to the agent. */
export function message(runtime: IAgentRuntime, text: string, more: Record<string, unknown> = {}): Memory {
  const entityId = createUniqueUuid(runtime, 'user');
  const roomId = createUniqueUuid(runtime, 'room');
  return {
    id: randomUUID() as UUID,
    entityId,
    agentId: runtime.agentId,
    roomId,
    content: { text, source: 'test', channelType: ChannelType.DM, ...more },
    createdAt: Date.now(),
  };
}

/** Say it to the agent as a user does; all that it answers. */
export async function say(runtime: IAgentRuntime, text: string, multiStep: boolean): Promise<string[]> {
  const memory = message(runtime, text);
  await runtime.ensureConnection({
    entityId: memory.entityId,
    roomId: memory.roomId,
    worldId: createUniqueUuid(runtime, 'world'),
    userName: 'user',
    source: 'test',
    channelId: 'room',
    type: ChannelType.DM,
  });
  const answers: string[] = [];
  if (!runtime.messageService) throw new Error('the runtime takes no messages');
  await runtime.messageService.handleMessage(
    runtime,
    memory,
    async (content) => {
      if (content.text) answers.push(content.text);
      return [];
    },
    { useMultiStep: multiStep, maxMultiStepIterations: 8 },
  );
  return answers;
}
