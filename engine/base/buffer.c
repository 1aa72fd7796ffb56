/* buffer.c - see buffer.h. */
#include "base/buffer.h"

#include "base/memory.h"

CnErr cn_buffer_room(CnBuffer *buffer, size_t bytes) {
  if (bytes <= buffer->room && (buffer->room <= CN_BUFFER_KEPT || buffer->room / 4 <= bytes)) return CN_OK;
  size_t room = bytes + bytes / 4;
  cn_buffer_free(buffer);
  if (!(buffer->data = cn_alloc(room))) return CN_EMEMORY;
  buffer->room = room;
  return CN_OK;
}

void cn_buffer_free(CnBuffer *buffer) {
  cn_free(buffer->data);
  *buffer = (CnBuffer){ 0 };
}
