import { failure, ok, type Report, warning } from '../../finding.ts';
import type { Configuration } from '../../server/configuration.ts';
import { LIBRARY, PREFIX } from '../../server/plugin-options.ts';
import { otherEncryptionPlugin, pluginsToLoad } from '../../server/plugins-to-load.ts';
import { loadsPlugin } from '../../server/server-answer.ts';
import type { Check, Examination } from '../check.ts';

const FORCE = 'aws_key_management = FORCE_PLUS_PERMANENT';
const LOAD = 'plugin_load_add = aws_key_management';
/** Names that are likely to be a misspelt name of this plugin. */
const ALMOST_OURS = /aws|kms/i;

export const activation: Check = {
  id: 'activation',
  unneeded: ({ unread }) => unread,
  async run(examination) {
    const { options } = examination.configuration;
    const { plugins } = pluginsToLoad(options);
    const reports: Report[] = [];
    const other = otherEncryptionPlugin(options);
    if (other !== undefined && plugins.some(({ isOurs }) => isOurs)) {
      reports.push(failure(`${other} is loaded too: a server has one encryption plugin`, `remove ${other}`));
    }
    const unloaded = unloadedReport(examination);
    return unloaded === undefined ? [...reports, activationReport(examination)] : [...reports, unloaded];
  },
};

/** The reason why the server would not load the plugin. The answer of mariadbd counts more than the option files. */
function unloadedReport({ configuration, facts }: Examination): Report | undefined {
  const { plugins, undoneBy } = pluginsToLoad(configuration.options);
  const { server } = facts;
  if (server !== undefined && loadsPlugin(server)) return undefined;
  const isNamed = plugins.some(({ isOurs }) => isOurs);
  if (isNamed && (server === undefined || server.isRefused)) return undefined;
  if (isNamed) return failure(`${LIBRARY} is not loaded: ${server?.errors[0] ?? 'mariadbd does not say why'}`, LOAD);
  if (undoneBy !== undefined) {
    const found = `plugin_load = ${undoneBy} comes later and undoes ${LOAD}: the plugin is not loaded`;
    return failure(found, `plugin_load_add = ${undoneBy}, in the place of plugin_load`);
  }
  const almost = plugins.find(({ text }) => ALMOST_OURS.test(text));
  if (almost !== undefined) {
    return failure(`no plugin has the name of "${almost.text}": the plugin is ${PREFIX}, and is not loaded`, LOAD);
  }
  const knows = server !== undefined && !server.isRefused && server.knowsInstalled;
  if (knows) return failure('no option and no INSTALL SONAME loads the plugin: the server starts without keys', LOAD);
  return refusesUnknown(configuration)
    ? failure(
        'no option loads the plugin: unless INSTALL SONAME did, the server refuses its options and does not start',
        LOAD,
      )
    : warning('no option loads the plugin: unless INSTALL SONAME did, nothing is encrypted with its keys', LOAD);
}

/**
 * Tells whether the server refuses to start over options of a plugin that is not loaded; `loose_` options are ignored.
 */
function refusesUnknown({ options }: Configuration): boolean {
  return options.strict(PREFIX).length > 0;
}

function activationReport({ configuration: { options } }: Examination): Report {
  const value = (options.last(PREFIX) ?? 'ON').toUpperCase();
  switch (value) {
    case '2':
    case '3':
    case 'FORCE':
    case 'FORCE_PLUS_PERMANENT':
      return ok(`${PREFIX} = ${value}: no start without the keys`);
    case '0':
    case 'OFF':
      return failure(`${PREFIX} = OFF: the plugin is not started, encrypted tables cannot be read`, FORCE);
    case '1':
    case 'ON':
      return warning(`${PREFIX} = ON: a server whose plugin failed starts without keys`, FORCE);
    default:
      return failure(`${PREFIX}: expected OFF, ON, FORCE or FORCE_PLUS_PERMANENT, got "${value}"`, FORCE);
  }
}
