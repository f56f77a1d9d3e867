/** The options of a separate agent, as a unit's command line has them. */
import { expect, it } from 'vitest';
import { agentCommand } from '../../../../src/cli/agent.ts';
import { AGENT_OPTIONS, parseAgentLine } from '../../../../src/server/service/agent-line.ts';

it('the options that a unit may give are those of the agent command, with values where it wants them', () => {
  const options = agentCommand().options.map(({ long, required }) => ({ long, required }));
  expect(options.map(({ long }) => long)).toEqual(AGENT_OPTIONS.map((name) => `--${name}`));
  for (const { long = '', required } of options)
    expect(parseAgentLine(['agent', long]).refused, long).toEqual(
      required ? [{ word: long, reason: `wants a value for ${long}` }] : [],
    );
});
