import { failure, ok, type Report, unlooked, warning } from '../../finding.ts';
import { askServer, loadsPlugin } from '../../server/server-answer.ts';
import type { Check } from '../check.ts';

const NAMED = 5;
/** Plugins without which the server has no keys; it starts without other plugins whose options it does not understand. */
const NEEDED_PLUGINS = /plugin '(?:aws_key_management|InnoDB|Aria)' failed/;
const OTHER_PLUGIN = /plugin|shared library|find symbol/i;

/** Checks the options as mariadbd itself parses them. */
export const serverOptions: Check = {
  id: 'server-options',
  needs: ['option-files'],
  unneeded: ({ unread }) => unread,
  async run({ surroundings, configuration, facts }, signal) {
    const { request, account } = configuration;
    const { uid } = surroundings;
    if (request.groups.length > 0) return [unlooked('mariadbd reads no groups but its own: --group was given')];
    if (uid !== 0 && uid !== account.uid) return [unlooked(`only root and ${account.name} see what the server sees`)];
    const answer = await askServer(request, account, surroundings, signal);
    if (answer === undefined) return [unlooked('mariadbd is not there to ask')];
    facts.server = answer;
    const { isRefused, errors } = answer;
    const said = errors.slice(0, NAMED).join('; ') || 'it ended without a word';
    if (isRefused)
      return [
        failure(`mariadbd refuses its options: ${said}`, 'correct or remove the option; nothing else is tried before'),
      ];
    if (errors.some((error) => NEEDED_PLUGINS.test(error))) {
      return [failure(`mariadbd does not understand a value: ${said}`, 'correct it in the option file')];
    }
    return [
      ...otherErrors(errors),
      ok(
        `mariadbd takes its ${configuration.options.size} options, as ${account.name}${loadsPlugin(answer) ? ', and loads the plugin' : ''}`,
      ),
    ];
  },
};

function otherErrors(errors: readonly string[]): readonly Report[] {
  return errors
    .filter((error) => OTHER_PLUGIN.test(error))
    .slice(0, NAMED)
    .map((error) => warning(`mariadbd: ${error}`, 'correct it in the option file, or remove that plugin'));
}
