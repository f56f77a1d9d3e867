// SPDX-License-Identifier: GPL-2.0-only
#include "base/text.h"

#include <string.h>

#include "test/test.h"

static void utf8_row_by_row(void)
{
  static const struct
  {
    const char *bytes;
    size_t size;
    bool good;
  } rows[]= {
    {"", 0, true},
    {"plain", 5, true},
    {"a\0b", 3, false},
    {"\xC3\xBC", 2, true},
    {"\xC3", 1, false},
    {"\xC0\x80", 2, false},
    {"\xE2\x82\xAC", 3, true},
    {"\xE0\x80\x80", 3, false},
    {"\xED\xA0\x80", 3, false},
    {"\xF0\x9F\x94\x91", 4, true},
    {"\xF0\x80\x80\x80", 4, false},
    {"\xF4\x90\x80\x80", 4, false},
    {"\xF5\x80\x80\x80", 4, false},
    {"\x80", 1, false},
    {"\xE2\x82", 2, false},
  };
  for (size_t i= 0; i < sizeof rows / sizeof rows[0]; i++)
    CHECK(text_is_utf8((const uint8_t *) rows[i].bytes, rows[i].size) == rows[i].good);
}

static void cut_keeps_characters_whole(void)
{
  const char *text= "a\xE2\x82\xAC" "b";
  CHECK(text_cut(text, 5, 9) == 5 && text_cut(text, 5, 5) == 5 && text_cut(text, 5, 4) == 4);
  CHECK(text_cut(text, 5, 3) == 1 && text_cut(text, 5, 2) == 1);
  CHECK(text_cut(text, 5, 1) == 1 && text_cut(text, 5, 0) == 0);
}

static void lines_end_with_a_sentence_or_a_word(void)
{
  static const struct
  {
    const char *text;
    size_t limit, line;
  } rows[]= {
    {"short", 9, 5},
    {"one two", 7, 7},
    {"It failed. Copy the file back", 19, 10},
    {"it failed: copy the file", 16, 10},
    {"A. It failed with this", 16, 12},
    {"one two three", 9, 7},
    {"one two three", 7, 7},
    {"onetwothree four", 8, 8},
    {"one twothree", 8, 8},
    {"aaa\xE2\x82\xAC" "aaa", 5, 3},
    {"", 4, 0},
  };
  for (size_t i= 0; i < sizeof rows / sizeof rows[0]; i++)
    CHECK(text_line(rows[i].text, strlen(rows[i].text), rows[i].limit) == rows[i].line);
}

static void clean_removes_control_characters(void)
{
  char to[16];
  text_clean(to, sizeof to, "a\nb\x1b[2Jc\x7f", 9);
  CHECK(strcmp(to, "a b [2Jc ") == 0);
  text_clean(to, sizeof to, "x\xC2\x9By", 4);
  CHECK(strcmp(to, "x  y") == 0);
  text_clean(to, sizeof to, "x\xE2\x80\xAEy\xE2\x81\xA9", 8);
  CHECK(strcmp(to, "x   y   ") == 0);
  text_clean(to, sizeof to, "\xE2\x80\xA8\xD8\x9C\xE2\x80\x8E", 8);
  CHECK(strcmp(to, "        ") == 0);
  text_clean(to, sizeof to, "\xE2\x82\xAC\xC2\xA0\xE2\x80", 7);
  CHECK(strcmp(to, "\xE2\x82\xAC\xC2\xA0\xE2\x80") == 0);
  text_clean(to, 4, "abcdef", 6);
  CHECK(strcmp(to, "abc") == 0);
  text_clean(to, 4, "ab\xC3\xBC", 4);
  CHECK(strcmp(to, "ab") == 0);
  text_clean(to, 1, "abc", 3);
  CHECK(to[0] == 0);
}

void text_tests(void)
{
  TEST(utf8_row_by_row);
  TEST(cut_keeps_characters_whole);
  TEST(lines_end_with_a_sentence_or_a_word);
  TEST(clean_removes_control_characters);
}
