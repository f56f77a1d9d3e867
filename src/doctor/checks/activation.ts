import type { Check } from '../check.ts';
import { failure, ok, type Report, warning } from '../finding.ts';
import { PREFIX } from '../plugin-options.ts';
import type { ServerOptions } from '../server-options.ts';

const FORCE = 'aws_key_management = FORCE_PLUS_PERMANENT';
/** Of the server: only one encryption plugin can be active. */
const OTHERS = /\b(?:file_key_management|hashicorp_key_management|example_key_management|debug_key_management)\b/;

export const activation: Check = {
  id: 'activation',
  unneeded: ({ unread }) => unread,
  async run({ configuration: { options } }) {
    const loaded = [...options.all('plugin_load_add'), options.last('plugin_load') ?? ''].join(';');
    const reports: Report[] = [];
    const other = OTHERS.exec(loaded)?.[0];
    if (other !== undefined && loaded.includes(PREFIX)) {
      reports.push(failure(`${other} is loaded too: a server has one encryption plugin`, `remove ${other}`));
    }
    if (!loaded.includes(PREFIX)) {
      const found = 'no option loads the plugin: unless INSTALL SONAME did, nothing is encrypted with its keys';
      reports.push(warning(found, 'plugin_load_add = aws_key_management'));
    }
    return [...reports, activationReport(options)];
  },
};

function activationReport(options: ServerOptions): Report {
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
