// SPDX-License-Identifier: GPL-2.0-only
#include "data/locations.h"

#include <stdio.h>
#include <string.h>

#define SYSTEM_FILES LOCATION_COUNT     /* an option whose value goes to system_files */

struct option
{
  const char *name;
  size_t shortest;                      /* length of the shortest beginning that is no other option's */
  unsigned what;
  bool needs_value;                     /* the next argument may be the value */
};

static const struct option options[]= {
  {"innodb-data-home-dir", sizeof "innodb-data-h" - 1, LOCATION_SYSTEM, true},
  {"innodb-data-file-path", sizeof "innodb-data-file-p" - 1, SYSTEM_FILES, true},
  {"innodb-log-group-home-dir", sizeof "innodb-log-g" - 1, LOCATION_LOG, true},
  {"innodb-undo-directory", sizeof "innodb-undo-d" - 1, LOCATION_UNDO, true},
  {"log-bin", sizeof "log-bin" - 1, LOCATION_BINLOG, false},
  {"log-bin-index", sizeof "log-bin-i" - 1, LOCATION_BINLOG_INDEX, true},
  {"relay-log", sizeof "relay-log" - 1, LOCATION_RELAY, true},
  {"relay-log-index", sizeof "relay-log-ind" - 1, LOCATION_RELAY_INDEX, true},
};

static char plain(char c)
{
  if (c == '_')
    return '-';
  return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

static bool begins(const char *text, size_t size, const char *with)
{
  size_t length= strlen(with);
  if (size < length)
    return false;
  for (size_t i= 0; i < length; i++)
    if (plain(text[i]) != with[i])
      return false;
  return true;
}

/* Returns whether text[0..size) is the option's name, or an unmistakable beginning of it. */
static bool names(const char *text, size_t size, const struct option *option)
{
  if (size < option->shortest || size > strlen(option->name))
    return false;
  for (size_t i= 0; i < size; i++)
    if (plain(text[i]) != option->name[i])
      return false;
  return true;
}

static const struct option *find(const char *text, size_t size)
{
  static const char *const prefixes[]= {"loose-", "plugin-"};
  for (size_t i= 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
    if (begins(text, size, prefixes[i]))
    {
      text+= strlen(prefixes[i]);
      size-= strlen(prefixes[i]);
    }
  for (size_t i= 0; i < sizeof options / sizeof options[0]; i++)
    if (names(text, size, &options[i]))
      return &options[i];
  return NULL;
}

static void take(struct locations *locations, const struct option *option, const char *value)
{
  char *to= option->what == SYSTEM_FILES ? locations->system_files : locations->paths[option->what];
  size_t size= option->what == SYSTEM_FILES ? sizeof locations->system_files : sizeof locations->paths[0];
  int length= snprintf(to, size, "%s", value);
  if (length < 0 || (size_t) length >= size)
    locations->unknown= "the path in an option of the server is too long";
}

/* Removes slashes at the end: /var/log/mysql/ and /var/log/mysql are the same. / stays. */
static void trim(char *path)
{
  size_t length= strlen(path);
  while (length > 1 && path[length - 1] == '/')
    path[--length]= 0;
}

static void set_defaults(struct locations *locations)
{
  memset(locations, 0, sizeof *locations);
  static const enum location here[]= {LOCATION_DATA, LOCATION_SYSTEM, LOCATION_LOG, LOCATION_UNDO};
  for (size_t i= 0; i < sizeof here / sizeof here[0]; i++)
    locations->paths[here[i]][0]= '.';
  snprintf(locations->system_files, sizeof locations->system_files, "ibdata1");
}

void locations_read(struct locations *locations, size_t count, const char *const *arguments)
{
  set_defaults(locations);
  for (size_t i= 1; i < count; i++)
  {
    if (strncmp(arguments[i], "--", 2) != 0)
      continue;
    const char *name= arguments[i] + 2, *equals= strchr(name, '=');
    const struct option *option= find(name, equals ? (size_t) (equals - name) : strlen(name));
    if (!option)
      continue;
    if (equals)
      take(locations, option, equals + 1);
    else if (option->needs_value && i + 1 < count)
      take(locations, option, arguments[++i]);
  }
  trim(locations->paths[LOCATION_SYSTEM]);
  trim(locations->paths[LOCATION_LOG]);
  trim(locations->paths[LOCATION_UNDO]);
}

void locations_unknown(struct locations *locations, const char *why)
{
  set_defaults(locations);
  locations->unknown= why;
}
