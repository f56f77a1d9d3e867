import { ok, type Report, skipped, warning } from '../../finding.ts';
import type { Surroundings } from '../../server/surroundings.ts';
import type { Check } from '../check.ts';

const UNITS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, min: 60, h: 3600, d: 86_400 };
/** The least time that a server needs to start, without the plugin. */
const MARGIN_SECONDS = 30;

/**
 * Compares the service manager's start timeout with the plugin's: the manager would kill a server that waits for KMS.
 */
export const startTimeout: Check = {
  id: 'start-timeout',
  isOptional: true,
  async run({ surroundings, configuration: { startTimeoutSeconds, service } }, signal) {
    if (service.initScript !== undefined) return [await scriptReport(surroundings, startTimeoutSeconds)];
    const { run } = surroundings;
    const shown = await run('systemctl', ['show', 'mariadb.service', '--property=LoadState,TimeoutStartUSec'], signal);
    const properties = new Map(
      (shown?.stdout ?? '').split('\n').map((line) => {
        const [name = '', ...value] = line.split('=');
        return [name, value.join('=')];
      }),
    );
    if (shown === undefined) return [skipped('there is no systemctl to ask')];
    if (shown.code !== 0) {
      const [said = ''] = shown.stderr.trim().split('\n', 1);
      return [skipped(`systemctl does not answer${said === '' ? '' : `: ${said}`}`)];
    }
    if (properties.get('LoadState') !== 'loaded') {
      return [skipped('systemd has no mariadb.service to ask')];
    }
    const text = properties.get('TimeoutStartUSec') ?? '';
    const seconds = parseTimeSpan(text);
    if (seconds === undefined) return [skipped(`systemd's TimeoutStartSec is not readable: "${text}"`)];
    if (seconds >= startTimeoutSeconds + MARGIN_SECONDS) {
      return [ok(`start_timeout ${startTimeoutSeconds} s, TimeoutStartSec of mariadb.service ${text}`)];
    }
    const found = `TimeoutStartSec of mariadb.service is ${text}, aws_key_management_start_timeout ${startTimeoutSeconds} s`;
    const needed = startTimeoutSeconds + MARGIN_SECONDS;
    return [
      warning(
        `${found}: systemd kills a server that waits for KMS`,
        `systemctl edit mariadb: TimeoutStartSec=${needed}`,
      ),
    ];
  },
};

/** Debian's script stops waiting and reports a failure, but ends nothing. */
async function scriptReport({ files, paths }: Surroundings, startTimeoutSeconds: number): Promise<Report> {
  const [script, defaults] = await Promise.all(
    [paths.initScript, paths.initDefaults].map((path) =>
      files.readFile(path).then(
        (bytes) => bytes.toString('utf8'),
        () => '',
      ),
    ),
  );
  const set = [...(defaults ?? '').matchAll(/^\s*(?:export\s+)?MYSQLD_STARTUP_TIMEOUT=["']?(\d+)/gm)].at(-1)?.[1];
  const waits = set ?? /\$\{MYSQLD_STARTUP_TIMEOUT:-(\d+)\}/.exec(script ?? '')?.[1];
  if (waits === undefined) return skipped(`${paths.initScript} does not tell how long it waits`);
  const found = `start_timeout ${startTimeoutSeconds} s, MYSQLD_STARTUP_TIMEOUT of ${paths.initScript} ${waits} s`;
  const needed = startTimeoutSeconds + MARGIN_SECONDS;
  if (Number(waits) >= needed) return ok(found);
  return ok(
    `${found}: it may report a failure while the server still waits for KMS, and starts later`,
    `echo MYSQLD_STARTUP_TIMEOUT=${needed} >>${paths.initDefaults}`,
  );
}

/** Parses a time span as systemd prints it: `15min`, `1min 30s`, `infinity`. */
function parseTimeSpan(text: string): number | undefined {
  if (text === 'infinity') return Number.POSITIVE_INFINITY;
  let seconds = 0;
  for (const part of text.split(' ')) {
    const [, amount, unit] = /^(\d+)([a-z]+)$/.exec(part) ?? [];
    const factor = UNITS[unit ?? ''];
    if (amount === undefined || factor === undefined) return undefined;
    seconds += Number(amount) * factor;
  }
  return seconds;
}
