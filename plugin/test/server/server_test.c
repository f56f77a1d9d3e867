// SPDX-License-Identifier: GPL-2.0-only
/*
  The conclusions of the plugin from the server's symbols, in a program that plays the server. With WITHOUT_STARTED it is
  one that does not tell whether it takes connections.
*/
#ifdef WITHOUT_STARTED
#define TEST_SUFFIX " (of a server that does not say whether it takes connections)"
#else
#define TEST_SUFFIX ""
#endif
#include "server/server.h"
#include "test/test.inc.h"

static char session;
static long long query;
static bool is_slave;
static enum thd_kill_levels kill_level;

MYSQL_THD _current_thd(void)
{
  return (MYSQL_THD) &session;
}

long long thd_query_id(const MYSQL_THD thd)
{
  return thd ? query : 0;
}

enum thd_kill_levels thd_kill_level(const MYSQL_THD thd)
{
  return thd ? kill_level : THD_ABORT_ASAP;
}

char thd_is_slave(const MYSQL_THD thd)
{
  return thd && is_slave;
}

volatile char abort_loop;
#ifndef WITHOUT_STARTED
volatile char mysqld_server_started;
#endif

static void shutdown_ends_statements_and_appliers_only(void)
{
  MYSQL_THD thd= (MYSQL_THD) &session;
  abort_loop= 1;
  query= 0;
  is_slave= false;
  kill_level= THD_IS_NOT_KILLED;
  CHECK(!server_is_killed(NULL) && !server_is_killed(thd));
  query= 7;
  CHECK(server_is_killed(thd));
  query= 0;
  is_slave= true;
  CHECK(server_is_killed(thd));
  abort_loop= 0;
  query= 7;
  CHECK(!server_is_killed(thd));
  kill_level= THD_ABORT_SOFTLY;
  CHECK(server_is_killed(thd));
}

static void statement_means_that_the_server_has_started(void)
{
  query= 0;
  CHECK(!server_has_started());
  query= 7;
#ifdef WITHOUT_STARTED
  CHECK(server_has_started());
#else
  CHECK(!server_has_started());
  mysqld_server_started= 1;
  query= 0;
  CHECK(server_has_started());
#endif
}

int main(void)
{
  TEST(shutdown_ends_statements_and_appliers_only);
  TEST(statement_means_that_the_server_has_started);
  return 0;
}
