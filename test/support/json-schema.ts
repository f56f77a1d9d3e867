/** The keywords of JSON Schema that docs/audit.schema.json uses. Any other keyword is an error, so that none is ignored. */

type Json = Readonly<Record<string, unknown>>;

const DESCRIBING = ['$schema', '$defs', 'title', 'description'];

/**
 * Returns what is wrong with the value, a line each. Unlike JSON Schema, a member that the schema does not name is wrong:
 * a schema that documents an output names all of it.
 */
export function schemaErrors(root: Json, value: unknown, schema: unknown = root, path = '$'): readonly string[] {
  if (!isObject(schema)) return [`${path}: its schema is no object`];
  return Object.entries(schema).flatMap(([keyword, rule]): readonly string[] => {
    const wrong = (isRight: boolean, what: string): readonly string[] => (isRight ? [] : [`${path}: ${what}`]);
    switch (keyword) {
      case 'type':
        return wrong(
          typeOf(value) === rule || (rule === 'number' && typeOf(value) === 'integer'),
          `no ${String(rule)}`,
        );
      case 'enum':
        return wrong(Array.isArray(rule) && rule.includes(value), `${String(value)} is not allowed`);
      case 'const':
        return wrong(value === rule, `not ${String(rule)}`);
      case 'minimum':
        return wrong(Number(value) >= Number(rule), `less than ${String(rule)}`);
      case 'maximum':
        return wrong(Number(value) <= Number(rule), `more than ${String(rule)}`);
      case 'required':
        return isObject(value) && Array.isArray(rule)
          ? rule.filter((name) => !(String(name) in value)).map((name) => `${path}: ${String(name)} is missing`)
          : [];
      case 'properties':
        return isObject(value) && isObject(rule)
          ? Object.entries(value).flatMap(([name, member]) =>
              name in rule
                ? schemaErrors(root, member, rule[name], `${path}.${name}`)
                : [`${path}: ${name} is unknown`],
            )
          : [];
      case 'items':
        return Array.isArray(value)
          ? value.flatMap((item, at) => schemaErrors(root, item, rule, `${path}[${at}]`))
          : [];
      case '$ref':
        return schemaErrors(root, value, definition(root, String(rule)), path);
      default:
        return wrong(DESCRIBING.includes(keyword), `the schema has ${keyword}, which is not known here`);
    }
  });
}

function definition(root: Json, reference: string): unknown {
  const [, name = ''] = /^#\/\$defs\/(\w+)$/.exec(reference) ?? [];
  return isObject(root['$defs']) ? root['$defs'][name] : undefined;
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (value === null) return 'null';
  return Number.isInteger(value) ? 'integer' : typeof value;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
