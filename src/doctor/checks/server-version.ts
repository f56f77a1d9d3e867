import { failure, ok, skipped, warning } from '../../finding.ts';
import type { Check } from '../check.ts';

/** From plugin_maturity's documentation, least mature first; the server takes plugins of its value and above. */
const MATURITIES = ['unknown', 'experimental', 'alpha', 'beta', 'gamma', 'stable'];
const OLDEST = [10, 11] as const;

export const serverVersion: Check = {
  id: 'server-version',
  isOptional: true,
  async run({ configuration: { serverVersion: version, options } }) {
    const maturity = options.last('plugin_maturity')?.toLowerCase();
    if (maturity !== undefined && !MATURITIES.includes(maturity) && !/^[0-5]$/.test(maturity)) {
      return [
        failure(`plugin_maturity: expected ${MATURITIES.join(', ')}, got "${maturity}"`, 'plugin_maturity = stable'),
      ];
    }
    if (version === undefined) return [skipped('mariadbd is not there to say its version')];
    const [major = 0, minor = 0] = version.split('.').map(Number);
    if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
      return [
        warning(
          `MariaDB ${version} is older than ${OLDEST.join('.')}, the oldest the plugin is tested with`,
          'upgrade the server',
        ),
      ];
    }
    return [ok(`MariaDB ${version}, plugin_maturity ${maturity ?? 'not set'}: admits the plugin, which is stable`)];
  },
};
