// SPDX-License-Identifier: GPL-2.0-only
#include "server/server.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include "server/optionfiles.h"
#include "base/text.h"

/* Values of my_sys.h and mysqld_error.h, which are C++ in some series. */
#define UNKNOWN_ERROR 1105u             /* ER_UNKNOWN_ERROR */
#define LOG_ONLY 128ul                  /* ME_ERROR_LOG_ONLY */
#define AS_NOTE 1024ul                  /* ME_NOTE */
#define AS_WARNING 2048ul               /* ME_WARNING */

/* Bits of privilege_t, which is stored in mysql.global_priv. */
#define PRIVILEGE_PROCESS (1ull << 8)
#define PRIVILEGE_SUPER (1ull << 15)

#define PREFIX "AWS KMS plugin: "
/* The server cuts a message off after 511 bytes (ERRMSGSIZE), prefix included. */
#define PIECE SERVER_SQL_ERROR_MAX

bool server_is_backup(void)
{
  return &xtrabackup_backup != NULL;
}

bool server_makes_backup(void)
{
  return server_is_backup() && xtrabackup_backup;
}

const char *server_incremental_dir(void)
{
  return &xtrabackup_incremental_dir ? xtrabackup_incremental_dir : NULL;
}

bool server_is_galera_node(void)
{
  return &WSREP_ON_ && WSREP_ON_;
}

struct aes server_aes(void)
{
  return (struct aes) {
    .init= my_aes_crypt_init, .update= my_aes_crypt_update, .finish= my_aes_crypt_finish, .crypt= my_aes_crypt,
    .size= my_aes_get_size, .ctx_size= my_aes_ctx_size,
  };
}

#define NO_DEFAULTS "--no-defaults"
#define DEFAULTS_FILE "--defaults-file="
#define EXTRA_FILE "--defaults-extra-file="
#define GROUP_SUFFIX "--defaults-group-suffix="
#define DEFAULTS_MAX 3u                 /* such options that may be given together */
#define CANNOT_BE_READ "the option files that the server was started with cannot be read any more"

static bool begins(const char *text, const char *with)
{
  return text && strncmp(text, with, strlen(with)) == 0;
}

/* Returns how many arguments, from the first on, name option files: the server takes such options only there. */
static int defaults_given(void)
{
  int given= 1;
  while (given < orig_argc && (begins(orig_argv[given], DEFAULTS_FILE) || begins(orig_argv[given], EXTRA_FILE) ||
                               begins(orig_argv[given], GROUP_SUFFIX)))
    given++;
  return given - 1;
}

/*
  Loads the option files and the command line. The server was in another directory when it read its option files: a path of
  the command line may be relative to that, the server's own variable is not. And if root started it, it was another user.
*/
static const char *load(int *count, char ***arguments)
{
  static char options[DEFAULTS_MAX][PATH_MAX + sizeof GROUP_SUFFIX];
  const struct
  {
    const char *option, *value;
    bool is_file;
  } given[DEFAULTS_MAX]= {
    {DEFAULTS_FILE, my_defaults_file, true},
    {EXTRA_FILE, my_defaults_extra_file, true},
    {GROUP_SUFFIX, my_defaults_group_suffix, false},
  };
  int skipped= defaults_given(), used= 0;
  char **own= calloc((size_t) orig_argc + DEFAULTS_MAX + 1, sizeof *own);
  if (!own)
    return "out of memory";
  const char *why= NULL, **directories= NULL;
  /* --no-defaults has to stay the first argument, and a suffix of the environment means nothing with it. */
  bool none= orig_argc > 1 && orig_argv[1] && strcmp(orig_argv[1], NO_DEFAULTS) == 0;
  own[used++]= orig_argv[0];
  for (size_t i= 0; !why && !none && i < DEFAULTS_MAX; i++)
  {
    if (!given[i].value || !given[i].value[0])
      continue;
    int length= snprintf(options[i], sizeof options[i], "%s%s", given[i].option, given[i].value);
    if (length < 0 || (size_t) length >= sizeof options[i] || (given[i].is_file && access(given[i].value, R_OK) != 0))
      why= "the option file that the server was started with cannot be read any more";
    own[used++]= options[i];
  }
  for (int i= skipped + 1; i < orig_argc; i++)
    own[used++]= orig_argv[i];
  *count= used;
  *arguments= own;
  if (!why && my_load_defaults("my", load_default_groups, count, arguments, &directories) != 0)
    why= CANNOT_BE_READ;
  else if (!why && getauxval(AT_EUID) != geteuid() && !none &&
           !optionfiles_are_readable((size_t) *count, (const char *const *) *arguments, my_defaults_file ? NULL : directories))
  {
    why= CANNOT_BE_READ;
    free_defaults(*arguments);
  }
  free(own);
  return why;
}

const char *server_arguments(int *count, char ***arguments)
{
  if (!&orig_argc || !&orig_argv || !&load_default_groups || !&my_defaults_file || !&my_defaults_extra_file ||
      !&my_defaults_group_suffix || !my_load_defaults || !free_defaults || !orig_argv || orig_argc < 1)
    return "this server does not say what it was started with";
  /* my_load_defaults() may make the server's variables point at strings of ours: they are restored. */
  const char *file= my_defaults_file, *extra= my_defaults_extra_file, *suffix= my_defaults_group_suffix;
  const char *why= load(count, arguments);
  my_defaults_file= file;
  my_defaults_extra_file= extra;
  my_defaults_group_suffix= suffix;
  return why;
}

void server_free_arguments(char **arguments)
{
  free_defaults(arguments);
}

/*
  Writes a line to standard error. mariadb-backup discards the texts of my_printf_error(). Its own lines go to standard
  error, in the server's format where they come from server code; so do these. One write, so that lines of several threads
  do not mix.
*/
static void log_in_backup(enum server_severity severity, const char *text)
{
  static const char *const names[]= {
    [SERVER_ERROR]= "ERROR", [SERVER_WARNING]= "Warning", [SERVER_NOTE]= "Note",
  };
  char line[4400], clean[4200], at[32]= "";
  time_t now= time(NULL);
  struct tm local;
  text_clean(clean, sizeof clean, text, strlen(text));
  if (localtime_r(&now, &local))
    strftime(at, sizeof at, "%Y-%m-%d %k:%M:%S", &local);
  int size= snprintf(line, sizeof line, "%s 0 [%s] mariadb-backup: " PREFIX "%s\n", at, names[severity], clean);
  if (size > 0 && (size_t) size < sizeof line)
    while (write(STDERR_FILENO, line, (size_t) size) == -1 && errno == EINTR)
      ;
}

static void log_piece(enum server_severity severity, const char *text, size_t size)
{
  char piece[PIECE + 1];
  unsigned long flags= severity == SERVER_ERROR ? LOG_ONLY : severity == SERVER_WARNING ? LOG_ONLY | AS_WARNING
                                                                                          : LOG_ONLY | AS_NOTE;
  text_clean(piece, sizeof piece, text, size);
  if (my_printf_error)
    my_printf_error(UNKNOWN_ERROR, PREFIX "%s", flags, piece);
}

void server_log(enum server_severity severity, const char *text)
{
  size_t left= strlen(text);
  if (server_is_backup())
  {
    log_in_backup(severity, text);
    return;
  }
  while (left > PIECE)
  {
    size_t cut= text_line(text, left, PIECE);
    log_piece(severity, text, cut);
    text+= cut;
    left-= cut;
    while (left && *text == ' ')
    {
      text++;
      left--;
    }
  }
  log_piece(severity, text, left);
}

void server_logf(enum server_severity severity, const char *format, ...)
{
  char text[4200];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  server_log(severity, text);
}

void server_sql_error(const char *format, ...)
{
  char text[4200], piece[PIECE + 1];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  text_clean(piece, sizeof piece, text, strlen(text));
  if (my_printf_error)
    my_printf_error(UNKNOWN_ERROR, PREFIX "%s", 0ul, piece);
}

/* A start of the server has no session; the warning would go to the error log, which has the text already. */
void server_sql_warning(const char *format, ...)
{
  char text[4200], piece[PIECE + 1];
  va_list arguments;
  if (!my_printf_error || !_current_thd || !_current_thd() || server_is_backup())
    return;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  text_clean(piece, sizeof piece, text, strlen(text));
  my_printf_error(UNKNOWN_ERROR, PREFIX "%s", AS_WARNING, piece);
}

long long server_statement_id(MYSQL_THD thd)
{
  return thd && thd_query_id ? thd_query_id(thd) : 0;
}

long long server_current_statement_id(void)
{
  return server_statement_id(_current_thd ? _current_thd() : NULL);
}

/*
  A shutdown kills sessions, but no appliers. InnoDB's own threads, most without a session, go on: a page whose key they do
  not get they take for damaged.
*/
bool server_is_killed(MYSQL_THD thd)
{
  if (!thd)
    return false;
  return (thd_kill_level && thd_kill_level(thd) != THD_IS_NOT_KILLED) ||
         (&abort_loop && abort_loop && (server_is_applier(thd) || server_statement_id(thd) != 0));
}

MYSQL_THD server_session(void)
{
  return _current_thd ? _current_thd() : NULL;
}

bool server_has_started(void)
{
  if (&mysqld_server_started)
    return mysqld_server_started;
  return !server_is_backup() && server_current_statement_id() != 0;
}

bool server_is_applier(MYSQL_THD thd)
{
  return thd && ((thd_is_slave && thd_is_slave(thd)) ||
                 (server_is_galera_node() && wsrep_thd_is_applying && wsrep_thd_is_applying(thd)));
}

unsigned server_slave_net_timeout(void)
{
  return &slave_net_timeout ? slave_net_timeout : 60;
}

bool server_may_read_failures(void)
{
  MYSQL_THD thd= _current_thd ? _current_thd() : NULL;
  return thd && _Z19check_global_accessP3THD11privilege_tb &&
         !_Z19check_global_accessP3THD11privilege_tb(thd, PRIVILEGE_PROCESS | PRIVILEGE_SUPER, true);
}

/* The performance schema evaluates status variables of other sessions too; only our own thread's memory may be touched. */
void *server_statement_alloc(MYSQL_THD thd, size_t size)
{
  if (_current_thd)
    thd= server_session();
  return thd && thd_alloc ? thd_alloc(thd, size) : NULL;
}
