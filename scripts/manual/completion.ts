/** Bash completion of verbs, verbs below them, options and their values. It needs bash alone, not the functions of bash-completion. */
import type { Command } from 'commander';

/** Placeholders of values that bash completes: file names, directories, or words such as `<iam|key>` and `<role|file>`. */
const FILES = /^(?:.*\|)?(?:file|path)$/;
const DIRECTORIES = /^directory$/;
const WORDS = /\|/;

/** @returns a script that defines the completion of the command */
export function bashCompletion(program: Command): string {
  const name = program.name();
  const completes = `_${name.replaceAll('-', '_')}`;
  const verbs = program.createHelp().visibleCommands(program);
  const verbNames = verbs.map((verb) => verb.name()).join(' ');
  return `# bash completion of ${name}

${completes}()
{
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD - 1]}
  local options='' files='' directories='' words='' others='' operand='' choice choices=''
  # --option=value is three words.
  if [[ $word == = ]]; then
    word=
  elif [[ $before == = ]]; then
    before=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  COMPREPLY=()
  if [[ $COMP_CWORD -eq 1 ]]; then
    mapfile -t COMPREPLY < <(compgen -W '${verbNames} ${optionNames(program)}' -- "$word")
    return
  fi
  case \${COMP_WORDS[1]} in
${verbs.map((verb) => `    ${verb.name()})\n${factsOrBelow(verb, verbNames)}      ;;`).join('\n')}
  esac
  for choice in $words; do
    [[ $choice != "$before="* ]] || choices+=" \${choice#*=}"
  done
  if [[ " $others " == *" $before "* ]]; then
    return
  elif [[ " $files " == *" $before "* ]]; then
    operand=-f
  elif [[ " $directories " == *" $before "* ]]; then
    operand=-d
  elif [[ $choices ]]; then
    options=$choices operand=
  elif [[ $word == -* ]]; then
    operand=
  elif [[ ! $operand ]]; then
    return
  fi
  case $operand in
    -*)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -W "$choices" "$operand" -- "$word")
      ;;
    *) mapfile -t COMPREPLY < <(compgen -W "\${operand:-$options}" -- "$word") ;;
  esac
} && complete -F ${completes} ${name}
`;
}

/** As `facts`, of the verb or of the one below it that stands in the line. */
function factsOrBelow(verb: Command, verbNames: string): string {
  if (verb.commands.length === 0) return facts(verb, verbNames);
  const below = verb.createHelp().visibleCommands(verb);
  const names = below.map((each) => each.name()).join(' ');
  const branches = below.map((each) => `          ${each.name()})\n${facts(each, names)}            ;;\n`).join('');
  return `      if [[ $COMP_CWORD -eq 2 ]]; then
        operand='${names}' options='${optionNames(verb)}'
      else
        case \${COMP_WORDS[2]} in
${branches}        esac
      fi
`;
}

/** Assignments of the variables that the verb needs. */
function facts(verb: Command, verbNames: string): string {
  const values = verb.options.map(({ flags, long }) => ({ long, value: /[<[](.*)[>\]]$/.exec(flags)?.[1] ?? '' }));
  const named = (pattern: RegExp): string =>
    values.flatMap(({ long, value }) => (pattern.test(value) ? [long] : [])).join(' ');
  const known = new RegExp([FILES, DIRECTORIES, WORDS].map(({ source }) => source).join('|'));
  const operands = verb.registeredArguments.map((argument) => argument.name());
  const variables = {
    options: optionNames(verb),
    files: named(FILES),
    directories: named(DIRECTORIES),
    words: values
      .filter(({ value }) => WORDS.test(value))
      .flatMap(({ long, value }) =>
        value
          .split('|')
          .filter((word) => !FILES.test(word))
          .map((word) => `${long}=${word}`),
      )
      .join(' '),
    others: values.flatMap(({ long, value }) => (value !== '' && !known.test(value) ? [long] : [])).join(' '),
    operand: operandOf(operands, verbNames),
  };
  return Object.entries(variables)
    .filter(([, text]) => text !== '')
    .map(([variable, text]) => `      ${variable}='${text}'\n`)
    .join('');
}

function optionNames(command: Command): string {
  return command
    .createHelp()
    .visibleOptions(command)
    .map(({ long, short }) => long ?? short)
    .join(' ');
}

/** The flag of compgen for the verb's arguments, or words. */
function operandOf(operands: readonly string[], verbNames: string): string {
  if (operands.some((name) => DIRECTORIES.test(name))) return '-d';
  if (operands.some((name) => FILES.test(name))) return '-f';
  return operands.includes('command') ? verbNames : '';
}
