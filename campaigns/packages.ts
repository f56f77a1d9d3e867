/**
 * Packages on real servers: installed, upgraded, downgraded, removed in clean roots of Debian 12 and 13, in which the
 * distribution's server runs under its own systemd. Needs root, and the packages of `npm run package`.
 *   npm run test:packages [-- NAME...]     only the tests whose names contain one of the words
 */
import type { Codename } from '../harness/clean-root.ts';
import { apparmor } from './packages/apparmor.ts';
import { container, sidecar } from './packages/container.ts';
import { currentDeb, packEarlierDeb } from './packages/debs.ts';
import { FIPS_PROVIDER, fips } from './packages/fips.ts';
import { install, life } from './packages/install.ts';
import { type Machine, withMachine } from './packages/machine.ts';
import { minute } from './packages/minute.ts';
import { reboot } from './packages/reboot.ts';
import { remove } from './packages/remove.ts';
import { rpmScripts } from './packages/rpm.ts';
import { moveToSeparate } from './packages/separate.ts';
import { agentUnit, serverUnit } from './packages/services.ts';
import { tarball } from './packages/tarball.ts';
import { upgradeSeparate, upgradeSpawned } from './packages/upgrade.ts';

interface Test {
  readonly name: string;
  /** @returns figures */
  readonly run: (machine: Machine, deb: string) => Promise<string>;
  readonly codename: Codename;
  readonly systemd: boolean;
  /** Packages of the release that the test installs. */
  readonly more?: readonly string[];
}

const DEBIANS: Readonly<Record<string, Codename>> = { 'Debian 12': 'bookworm', 'Debian 13': 'trixie' };
const current = currentDeb();
let packed: string | undefined;

function earlier(): string {
  packed ??= packEarlierDeb();
  return packed;
}

const WITH_SYSTEMD: Readonly<Record<string, Test['run']>> = {
  minute,
  install,
  life,
  'upgrade, spawned agent': (machine) => upgradeSpawned(machine, { earlier: earlier(), current }),
  'upgrade, separate agent': (machine) => upgradeSeparate(machine, { earlier: earlier(), current }),
  remove,
  reboot,
  tarball,
  'scripts of the rpm': rpmScripts,
  'unit of the server': serverUnit,
  'unit of the agent': agentUnit,
  'to a separate agent': moveToSeparate,
};
/** Machines without systemd, where the server is started by its script in /etc/init.d. */
const WITHOUT_SYSTEMD: Readonly<Record<string, Test['run']>> = { minute, install, remove };
/** The image has MariaDB 11.8, as Debian 13 has. */
const CONTAINERS: Readonly<Record<string, Test['run']>> = { container, sidecar };

function tests(): Test[] {
  return [
    ...debianTests(),
    { name: 'Debian 13: FIPS', run: fips, codename: 'trixie', systemd: false, more: [FIPS_PROVIDER] },
    { name: 'Debian sid: AppArmor', run: apparmor, codename: 'sid', systemd: false },
  ];
}

function debianTests(): Test[] {
  return Object.entries(DEBIANS).flatMap(([debian, codename]) => {
    const named = (kind: string, systemd: boolean, runs: Readonly<Record<string, Test['run']>>): Test[] =>
      Object.entries(runs).map(([name, run]) => ({ name: `${debian}, ${kind}: ${name}`, run, codename, systemd }));
    return [
      ...named('systemd', true, WITH_SYSTEMD),
      ...named('no systemd', false, WITHOUT_SYSTEMD),
      ...(codename === 'trixie' ? named('layout of an image', false, CONTAINERS) : []),
    ];
  });
}

async function passes({ name, run, ...kind }: Test): Promise<boolean> {
  const started = performance.now();
  const seconds = (): string => `(${Math.round((performance.now() - started) / 1000)} s)`;
  try {
    const figures = await withMachine(kind, [current], (machine) => run(machine, current));
    console.log(`ok: ${name}: ${figures} ${seconds()}`);
    return true;
  } catch (error) {
    console.log(`FAILED: ${name} ${seconds()}\n${error instanceof Error ? error.stack : String(error)}`);
    return false;
  }
}

const words = process.argv.slice(2);
const chosen = tests().filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)));
if (chosen.length === 0) throw new Error(`no test has ${words.join(' or ')} in its name`);
let passed = 0;
for (const test of chosen) if (await passes(test)) passed += 1;
console.log(`${passed} passed, ${chosen.length - passed} failed`);
process.exitCode = passed === chosen.length ? 0 : 1;
