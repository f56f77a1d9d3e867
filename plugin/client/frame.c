// SPDX-License-Identifier: GPL-2.0-only
#include "client/frame.h"

#include <string.h>

#include "base/text.h"

static uint32_t load_u32(const uint8_t *p)
{
  return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static void store_u32(uint8_t *p, uint32_t value)
{
  p[0]= (uint8_t) (value >> 24);
  p[1]= (uint8_t) (value >> 16);
  p[2]= (uint8_t) (value >> 8);
  p[3]= (uint8_t) value;
}

/* Returns the bytes of the whole frame whose length field has arrived; 0 if that field is out of range. */
static size_t whole(const struct frame_parser *parser)
{
  uint32_t length= load_u32(parser->bytes);
  return length < FRAME_MIN || length > FRAME_MAX ? 0 : FRAME_PREFIX + (size_t) length;
}

void frame_parser_reset(struct frame_parser *parser)
{
  explicit_bzero(parser->bytes, sizeof parser->bytes);
  parser->have= 0;
}

void frame_parser_next(struct frame_parser *parser)
{
  explicit_bzero(parser->bytes, parser->have);
  parser->have= 0;
}

uint8_t *frame_parser_space(struct frame_parser *parser, size_t *room)
{
  if (parser->have < FRAME_PREFIX)
    *room= FRAME_PREFIX - parser->have;
  else
  {
    size_t total= whole(parser);
    *room= total > parser->have ? total - parser->have : 0;
  }
  return parser->bytes + parser->have;
}

enum frame_result frame_parser_added(struct frame_parser *parser, size_t count, struct frame *frame)
{
  size_t room;
  frame_parser_space(parser, &room);
  if (count > room)
    return FRAME_BAD;
  parser->have+= count;
  if (parser->have < FRAME_PREFIX)
    return FRAME_MORE;
  size_t total= whole(parser);
  if (total == 0)
    return FRAME_BAD;
  if (parser->have < total)
    return FRAME_MORE;
  frame->type= parser->bytes[FRAME_PREFIX];
  frame->request= load_u32(parser->bytes + FRAME_PREFIX + 1);
  frame->payload= parser->bytes + FRAME_PREFIX + FRAME_MIN;
  frame->size= total - FRAME_PREFIX - FRAME_MIN;
  return FRAME_READY;
}

struct frame_reader frame_read(const struct frame *frame)
{
  return (struct frame_reader) {.at= frame->payload, .left= frame->size, .bad= false};
}

const uint8_t *frame_bytes(struct frame_reader *reader, size_t size)
{
  if (reader->bad || size > reader->left)
  {
    reader->bad= true;
    return NULL;
  }
  const uint8_t *at= reader->at;
  reader->at+= size;
  reader->left-= size;
  return at;
}

uint8_t frame_u8(struct frame_reader *reader)
{
  const uint8_t *p= frame_bytes(reader, 1);
  return p ? p[0] : 0;
}

uint16_t frame_u16(struct frame_reader *reader)
{
  const uint8_t *p= frame_bytes(reader, 2);
  return p ? (uint16_t) ((unsigned) p[0] << 8 | p[1]) : 0;
}

uint32_t frame_u32(struct frame_reader *reader)
{
  const uint8_t *p= frame_bytes(reader, 4);
  return p ? load_u32(p) : 0;
}

struct frame_text frame_str(struct frame_reader *reader)
{
  size_t size= frame_u16(reader);
  const uint8_t *p= frame_bytes(reader, size);
  if (!p)
    return (struct frame_text) {.text= "", .size= 0};
  if (!text_is_utf8(p, size))
  {
    reader->bad= true;
    return (struct frame_text) {.text= "", .size= 0};
  }
  return (struct frame_text) {.text= (const char *) p, .size= size};
}

bool frame_end(const struct frame_reader *reader)
{
  return !reader->bad && reader->left == 0;
}

static uint8_t *grow(struct frame_writer *writer, size_t size)
{
  if (writer->bad || size > writer->capacity - writer->size || size > FRAME_TOTAL_MAX - writer->size)
  {
    writer->bad= true;
    return NULL;
  }
  uint8_t *at= writer->bytes + writer->size;
  writer->size+= size;
  return at;
}

struct frame_writer frame_begin(uint8_t *bytes, size_t capacity, uint8_t type, uint32_t request)
{
  struct frame_writer writer= {.bytes= bytes, .capacity= capacity, .size= 0, .bad= false};
  grow(&writer, FRAME_PREFIX);
  frame_put_u8(&writer, type);
  frame_put_u32(&writer, request);
  return writer;
}

void frame_put_u8(struct frame_writer *writer, uint8_t value)
{
  uint8_t *p= grow(writer, 1);
  if (p)
    p[0]= value;
}

void frame_put_u16(struct frame_writer *writer, uint16_t value)
{
  uint8_t *p= grow(writer, 2);
  if (p)
  {
    p[0]= (uint8_t) (value >> 8);
    p[1]= (uint8_t) value;
  }
}

void frame_put_u32(struct frame_writer *writer, uint32_t value)
{
  uint8_t *p= grow(writer, 4);
  if (p)
    store_u32(p, value);
}

void frame_put_str(struct frame_writer *writer, const char *text, size_t size)
{
  if (size > UINT16_MAX)
  {
    writer->bad= true;
    return;
  }
  frame_put_u16(writer, (uint16_t) size);
  uint8_t *p= grow(writer, size);
  if (p && size)
    memcpy(p, text, size);
}

size_t frame_finish(struct frame_writer *writer)
{
  if (writer->bad || writer->size < FRAME_PREFIX + FRAME_MIN)
    return 0;
  store_u32(writer->bytes, (uint32_t) (writer->size - FRAME_PREFIX));
  return writer->size;
}
