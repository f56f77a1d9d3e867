import { exitCode, formatFindings } from '../doctor/format.ts';
import type { Finding } from '../finding.ts';
import { printableJson } from '../printable.ts';
import type { SetupPolicy } from '../setup/setup-policy.ts';
import { describeStep, effectiveLines, type PlannedStep } from '../setup/step.ts';
import type { CliIo } from './process-io.ts';

export interface ShownPlan {
  readonly steps: readonly PlannedStep[];
  /** Paths of files that go. */
  readonly removed: readonly string[];
  readonly notes: readonly string[];
  readonly policy: SetupPolicy | undefined;
  /** The process that has the AWS identity; default: the server and the agent that it starts. */
  readonly agent?: 'separate' | undefined;
}

type ReportIo = Pick<CliIo, 'stdout' | 'stderr' | 'hasColours' | 'columns'>;

const WIDTH = 9;

/** Prints what `init` plans and does: for people line by line, as JSON at the end. */
export class InitReport {
  readonly #io: ReportIo;
  readonly #isJson: boolean;
  readonly #isDryRun: boolean;
  #plan: ShownPlan = { steps: [], removed: [], notes: [], policy: undefined };
  readonly #notes: string[] = [];

  constructor(io: ReportIo, { isJson, isDryRun }: { readonly isJson: boolean; readonly isDryRun: boolean }) {
    this.#io = io;
    this.#isJson = isJson;
    this.#isDryRun = isDryRun;
  }

  plan(plan: ShownPlan): void {
    this.#plan = plan;
    for (const note of plan.notes) this.note(note);
    if (this.#isJson) return;
    for (const { step, state } of plan.steps) {
      this.#io.stdout(`${state.padEnd(WIDTH)}${describeStep(step)}`);
      if (state === 'new')
        for (const line of effectiveLines(step)) this.#io.stdout(`${' '.repeat(WIDTH)}  ${shown(line)}`);
    }
    // A removal says of each file when it is done.
    if (this.#isDryRun) for (const path of plan.removed) this.tellStep('remove', path);
    if (plan.policy === undefined) return;
    const { document, note } = plan.policy;
    this.#io.stdout('');
    this.#io.stdout(
      `the identity of the ${plan.agent === 'separate' ? 'separate agent' : 'server'} needs this policy in IAM:`,
    );
    this.#io.stdout(printableJson(document, 2), 'prepared');
    if (note !== '') this.#io.stdout(note);
    this.#io.stdout('');
  }

  note(text: string): void {
    this.#notes.push(text);
    this.#io.stderr(`mariadb-aws-kms: note: ${text}`);
  }

  warn(text: string): void {
    this.#notes.push(text);
    this.#io.stderr(`mariadb-aws-kms: warning: ${text}`);
  }

  /** Prints a line of the plan. */
  tellStep(state: string, what: string): void {
    this.tell(`${state.padEnd(WIDTH)}${what}`);
  }

  /** Says what is being done. */
  tell(line: string): void {
    if (!this.#isJson) this.#io.stdout(line);
  }

  /** @param next the command that comes next */
  end(findings: readonly Finding[], next: string): void {
    const { steps, removed, policy } = this.#plan;
    if (!this.#isJson) {
      if (findings.length > 0)
        for (const line of formatFindings(findings, this.#io.hasColours, this.#io.columns))
          this.#io.stdout(line, 'prepared');
      this.#io.stdout(`next: ${next}`);
      return;
    }
    const result = {
      ok: exitCode(findings) === 0,
      dryRun: this.#isDryRun,
      steps: steps.map(({ step: { kind, path }, state }) => ({ kind, path, state })),
      removed,
      notes: this.#notes,
      policy: policy?.document ?? null,
      findings,
      next,
    };
    this.#io.stdout(printableJson(result, 2), 'prepared');
  }
}

/** Even the published key of the trial is not shown: nobody should get used to that. */
function shown(line: string): string {
  return line.replace(/^(aws_secret_access_key *= *).*/, '$1…');
}
