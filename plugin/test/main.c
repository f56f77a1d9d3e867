// SPDX-License-Identifier: GPL-2.0-only
#define TEST_SUFFIX ""
#include <string.h>

#include "test/client/fake_agent.h"
#include "test/test.inc.h"

int main(int count, char **arguments)
{
  if (count > 1 && strcmp(arguments[1], "agent") == 0)
    return child_main(arguments[0]);
  frame_tests();
  keytable_tests();
  crypt_tests();
  stream_tests();
  contexts_tests();
  text_tests();
  settings_tests();
  recent_tests();
  reasons_tests();
  bucket_tests();
  datadir_tests();
  layouts_tests();
  vectors_tests();
  locations_tests();
  optionfiles_tests();
  tablespace_tests();
  spawn_tests();
  child_tests();
  secrecy_tests();
  replay_tests();
  fake_open();
  client_tests();
  look_tests();
  protocol_tests();
  start_tests();
  limits_tests();
  waiting_tests();
  fake_close();
  return 0;
}
