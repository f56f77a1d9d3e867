// SPDX-License-Identifier: GPL-2.0-only
#include "base/text.h"

#include <string.h>

/* Returns the bytes of the well-formed character at p[0..left), 0 if there is none. Table 3-7 of the Unicode standard. */
static size_t character(const uint8_t *p, size_t left)
{
  uint8_t low= 0x80, high= 0xBF;
  size_t size;
  if (p[0] < 0x80)
    return p[0] ? 1 : 0;
  if (p[0] < 0xC2)
    return 0;
  if (p[0] < 0xE0)
    size= 2;
  else if (p[0] < 0xF0)
  {
    size= 3;
    if (p[0] == 0xE0)
      low= 0xA0;
    else if (p[0] == 0xED)
      high= 0x9F;
  }
  else if (p[0] < 0xF5)
  {
    size= 4;
    if (p[0] == 0xF0)
      low= 0x90;
    else if (p[0] == 0xF4)
      high= 0x8F;
  }
  else
    return 0;
  if (size > left || p[1] < low || p[1] > high)
    return 0;
  for (size_t i= 2; i < size; i++)
    if ((p[i] & 0xC0) != 0x80)
      return 0;
  return size;
}

bool text_is_utf8(const uint8_t *bytes, size_t size)
{
  for (size_t at= 0, step; at < size; at+= step)
    if (!(step= character(bytes + at, size - at)))
      return false;
  return true;
}

size_t text_cut(const char *text, size_t size, size_t limit)
{
  if (size <= limit)
    return size;
  size_t cut= limit;
  while (cut > 0 && limit - cut < 3 && ((uint8_t) text[cut] & 0xC0) == 0x80)
    cut--;
  return cut;
}

size_t text_line(const char *text, size_t size, size_t limit)
{
  size_t end= text_cut(text, size, limit), space= 0;
  if (end == size)
    return size;
  for (size_t at= end; at > end / 2; at--)
  {
    if (text[at] != ' ')
      continue;
    if (memchr(".;:", text[at - 1], 3))
      return at;
    space= space ? space : at;
  }
  return space ? space : end;
}

/*
  Returns the bytes of a character at p[0..left) that a terminal obeys, 0 if it is none. Terminals obey control characters
  with C1 (U+0080..U+009F), line and paragraph separators (U+2028, U+2029), and the controls of direction (Unicode Standard
  Annex 9: U+061C, U+200E, U+200F, U+202A..U+202E, U+2066..U+2069).
*/
static size_t command_size(const uint8_t *p, size_t left)
{
  if (p[0] < 0x20 || p[0] == 0x7F)
    return 1;
  if (left >= 2 && ((p[0] == 0xC2 && p[1] < 0xA0) || (p[0] == 0xD8 && p[1] == 0x9C)))
    return 2;
  if (left < 3 || p[0] != 0xE2)
    return 0;
  if (p[1] == 0x80 && (p[2] == 0x8E || p[2] == 0x8F || (p[2] >= 0xA8 && p[2] <= 0xAE)))
    return 3;
  return p[1] == 0x81 && p[2] >= 0xA6 && p[2] <= 0xA9 ? 3 : 0;
}

void text_clean(char *to, size_t capacity, const void *from, size_t size)
{
  if (capacity == 0)
    return;
  size_t length= text_cut(from, size, capacity - 1);
  memcpy(to, from, length);
  to[length]= 0;
  for (size_t i= 0, size_of_one; i < length; i+= size_of_one ? size_of_one : 1)
  {
    size_of_one= command_size((const uint8_t *) to + i, length - i);
    memset(to + i, ' ', size_of_one);
  }
}
