/** Man pages in the man(7) macros: one of the command, and one of each verb and verb below it that a help shows. */
import type { Command, Option } from 'commander';
import { ENVIRONMENT, FILES, READ_FROM } from './sections.ts';

export interface Edition {
  /** Name and release: `mariadb-aws-kms 0.1.0`. */
  readonly version: string;
  /** `2030-01-31` */
  readonly date: string;
}

/** @returns the text of each page by its file name, such as `mariadb-aws-kms-agent.1` */
export function manPages(program: Command, edition: Edition): ReadonlyMap<string, string> {
  const pages = new Map([[`${nameOf([program])}.1`, programPage(program, edition)]]);
  const add = (path: Path): void => {
    for (const verb of visibleVerbs(path[0])) {
      const below: Path = [verb, ...path];
      const isGroup = visibleVerbs(verb).length > 0;
      pages.set(`${nameOf(below)}.1`, isGroup ? groupPage(below, edition) : verbPage(below, edition));
      add(below);
    }
  };
  add([program]);
  return pages;
}

/** A command before those that it belongs to. */
type Path = readonly [Command, ...Command[]];

/** @param separator that of the names: a blank where one types them, a hyphen in the name of a page */
function nameOf(path: Path, separator = '-'): string {
  return path
    .map((command) => command.name())
    .reverse()
    .join(separator);
}

function visibleVerbs(program: Command): readonly Command[] {
  return program
    .createHelp()
    .visibleCommands(program)
    .filter((verb) => verb.name() !== 'help');
}

function programPage(program: Command, edition: Edition): string {
  const name = program.name();
  const verbs = visibleVerbs(program);
  return page(name, edition, [
    ...commandsOf([program]),
    ...EXIT_STATUS,
    '.SH FILES',
    ...FILES.map(entry),
    `.SH ENVIRONMENT\n${paragraph(READ_FROM)}`,
    ...ENVIRONMENT.map(entry),
    seeAlso(verbs.map((verb) => `${name}-${verb.name()}`)),
  ]);
}

function groupPage(path: Path, edition: Edition): string {
  const [group, program] = path;
  return page(nameOf(path), edition, [
    ...commandsOf(path),
    ...EXIT_STATUS,
    seeAlso([
      ...(program === undefined ? [] : [program.name()]),
      ...visibleVerbs(group).map((verb) => nameOf([verb, ...path])),
    ]),
  ]);
}

/** The sections of a command that has verbs below it. */
function commandsOf(path: Path): readonly string[] {
  const [command] = path;
  return [
    ...summary(nameOf(path), command),
    `.SH SYNOPSIS\n${bold(nameOf(path, ' '))}\n${italic('command')}\n[${italic('options')}]`,
    `.SH DESCRIPTION\n${paragraph(command.description())}`,
    '.SH COMMANDS',
    ...visibleVerbs(command).map((verb) => item(`${bold(nameOf([verb, ...path]))}(1)`, verb.description())),
    ...optionSection(command),
  ];
}

function verbPage(path: Path, edition: Edition): string {
  const [verb, parent = verb, ...above] = path;
  const name = nameOf(path);
  const help = verb.createHelp();
  const shown = help.visibleArguments(verb);
  const afterOptions = textAfterHelp(verb);
  const operands = verb.registeredArguments.map((argument) => italic(help.argumentTerm(argument)));
  const usage = [bold(nameOf(path, ' ')), `[${italic('options')}]`, ...operands];
  const others = visibleVerbs(parent)
    .map((other) => nameOf([other, parent, ...above]))
    .filter((other) => other !== name);
  return page(name, edition, [
    ...summary(name, verb),
    `.SH SYNOPSIS\n${usage.join('\n')}`,
    `.SH DESCRIPTION\n${paragraph(verb.description())}`,
    ...(shown.length === 0 ? [] : ['.SH ARGUMENTS']),
    ...shown.map((argument) => item(italic(help.argumentTerm(argument)), help.argumentDescription(argument))),
    ...optionSection(verb),
    ...afterOptions,
    ...(afterOptions.includes(EXIT_HEADING) ? [] : EXIT_STATUS),
    seeAlso([nameOf([parent, ...above]), ...others]),
  ]);
}

function page(name: string, { version, date }: Edition, parts: readonly string[]): string {
  const heading = `.TH ${asciiOf(name.toUpperCase())} 1 ${date} "${version}" "User Commands"`;
  return `${[heading, ...parts].join('\n')}\n`;
}

function summary(name: string, command: Command): readonly string[] {
  return [`.SH NAME\n${asciiOf(name)} \\- ${asciiOf(command.description())}`];
}

function optionSection(command: Command): readonly string[] {
  const help = command.createHelp();
  const options = help.visibleOptions(command);
  return ['.SH OPTIONS', ...options.map((option) => item(optionTerm(option), help.optionDescription(option)))];
}

/** `--to <key>` with the option in bold and its value in italics; a value in brackets may be left out, and keeps them. */
function optionTerm({ flags }: Option): string {
  return flags
    .split(/(<.*>|\[.*\]|,? )/)
    .filter((part) => part !== '')
    .map((part) => {
      if (part.startsWith('<')) return italic(part.slice(1, -1));
      if (part.startsWith('[')) return `[${italic(part.slice(1, -1))}]`;
      return part.endsWith(' ') ? part : bold(part);
    })
    .join('');
}

const EXIT_HEADING = '.SH EXIT STATUS';

const EXIT_STATUS = [
  EXIT_HEADING,
  item('0', 'success'),
  item('1', 'something failed, or was found to be wrong'),
  item('2', 'bad usage'),
];

/** An entry whose term may have several lines. */
function entry([terms, text]: readonly [string, string]): string {
  const [first = '', ...more] = terms.split('\n');
  const others = more.map((term) => `.TQ\n${bold(term)}\n`).join('');
  return `.TP\n${bold(first)}\n${others}${paragraph(text)}`;
}

function seeAlso(names: readonly string[]): string {
  const pages = names.map((name) => `${bold(name)}(1)`);
  return `.SH SEE ALSO\n.ad l\n${[...pages, `${bold('mariadbd')}(8)`].join(',\n')}`;
}

/** The parts of addHelpText(): a line that ends with a colon is a heading; below it are commands, or numbers with a text. */
function textAfterHelp(command: Command): readonly string[] {
  const parts: string[] = [];
  command.configureOutput({ writeOut: (part) => void parts.push(part) }).outputHelp();
  const lines = parts
    .join('')
    .slice(command.helpInformation().length)
    .split('\n')
    .filter((line) => line !== '');
  return lines.map((line) => {
    if (/^\S.*:$/.test(line)) return `.SH ${asciiOf(line.slice(0, -1).toUpperCase())}`;
    const [, number, meaning] = /^ {2}(\d+) +(.*)$/.exec(line) ?? [];
    if (number !== undefined && meaning !== undefined) return item(number, meaning);
    return line.startsWith('  ') ? `.nf\n${asciiOf(line.trim())}\n.fi` : paragraph(line);
  });
}

function item(term: string, text: string): string {
  return `.TP\n${term}\n${paragraph(text)}`;
}

function paragraph(text: string): string {
  return escaped(text).replace(/^[.']/, '\\&$&');
}

function bold(text: string): string {
  return `\\fB${escaped(text)}\\fR`;
}

function italic(text: string): string {
  return `\\fI${escaped(text)}\\fR`;
}

/** Names, paths and options are not hyphenated: with a hyphen of the page they would be other names. */
function escaped(text: string): string {
  return text
    .split(' ')
    .map((word) => (/[-_/.]\w|mariadb|mysql/i.test(word) ? `\\%${asciiOf(word)}` : asciiOf(word)))
    .join(' ');
}

/** Hyphens, quotes and accents stay those of ASCII, and other characters do not depend on the encoding of the page. */
function asciiOf(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('`', '\\(ga')
    .replaceAll('"', '\\(dq')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti')
    .replaceAll(/[^\n -~]/gu, (letter) => `\\[u${letter.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')}]`);
}
