/* SPDX-License-Identifier: Apache-2.0
 *
 * Every allocation and free, with its stack, on standard error.
 *
 *     tracealloc(0x16ac00021f60, 0x40)
 *     thread 4711 [running]:
 *     #	0x55d1c8a011c4	leak+0x11c4
 *     #	0x7f5a1c0461c9	libc.so.6+0x271c9
 *     <empty line>
 *
 * is the form of Go's allocfreetrace, which had a type for a third argument and a goroutine for a
 * thread; the size is what the object occupies. A frame is the address of the call, and the same as
 * an offset in its file, for addr2line: a stripped program can be looked at later, elsewhere. A
 * stack that is too long for the line loses its outermost frames, and says so.
 *
 * Path up and down: while this is on, front/thread.c leaves no countdown that is not due, and each
 * object is marked as sampled ones are, so that every malloc and free comes by front/slow.c. The
 * fast path has no test for it. An allocation is shown before anybody else can know the object, a
 * free before it can be given out again: the lines of one address are in the order of its life.
 * What Mallard allocates for itself is not shown.
 *
 * SYNCHRONIZATION: none is needed. Everything lies on the stack, and an event is one write, which
 * the kernel does not mix with another one's as long as it goes to a terminal, a file opened for
 * appending, or a pipe that takes PIPE_BUF bytes at once: hence TEXT_BYTES.
 *
 * Must never allocate, lock or touch stdio: it runs inside malloc and inside signal handlers.
 */
#include "front/object_trace.h"

#include "base/format.h"
#include "front/thread.h"
#include "os/say.h"
#include "os/text.h"
#include "os/thread.h"
#include "sample/unwind.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>

#define TEXT_BYTES 4096u /* PIPE_BUF */
#define ELIDED "...additional frames elided...\n"
#define NAME_MOST 64 /* bytes of a file's name */
#define FRAME_MOST (NAME_MOST + 48u)

struct text {
    size_t length;
    char bytes[TEXT_BYTES];
};

/* What is left for frames, with room for the words that some are missing and for the empty line. */
static bool has_room_for_frame(const struct text *text) {
    return text->length + FRAME_MOST + sizeof ELIDED + 1 <= TEXT_BYTES;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The object of a frame cannot be unloaded meanwhile: it is on this thread's stack. */
static void put_frame(struct text *text, uintptr_t pc) {
    struct dl_find_object found;
    char *to = text->bytes + text->length;
    if (_dl_find_object((void *)pc, &found) != 0 || !found.dlfo_link_map) {
        text->length += mal_format(to, FRAME_MOST, "#\t0x%lx\n", (unsigned long)pc);
        return;
    }
    const char *path = found.dlfo_link_map->l_name;
    char name[NAME_MOST];
    mal_format(name, sizeof name, "%s",
               path && path[0] ? base_name(path) : program_invocation_short_name);
    text->length += mal_format(to, FRAME_MOST, "#\t0x%lx\t%s+0x%lx\n", (unsigned long)pc, name,
                               (unsigned long)(pc - found.dlfo_link_map->l_addr));
}

/* Return addresses lie behind their calls. */
static void put_stack(struct text *text) {
    uintptr_t pcs[MAL_UNWIND_DEPTH_MAX];
    struct mal_text_range own = mal_text_range();
    size_t depth = mal_unwind_capture(pcs, MAL_UNWIND_DEPTH_MAX, own.low, own.high, NULL);
    size_t shown = 0;
    for (; shown < depth && has_room_for_frame(text); shown++)
        put_frame(text, pcs[shown] - 1);
    if (shown < depth)
        text->length +=
            mal_format(text->bytes + text->length, TEXT_BYTES - text->length, "%s", ELIDED);
}

static void put_event(const char *event, const void *object, size_t bytes) {
    struct text text;
    text.length = mal_format(text.bytes, sizeof text.bytes, "%s(%p, 0x%lx)\nthread %d [running]:\n",
                             event, object, (unsigned long)bytes, mal_thread_kernel_id());
    put_stack(&text);
    text.bytes[text.length++] = '\n';
    mal_write_error(text.bytes, text.length);
}

static bool is_programs_own_doing(void) {
    return mal_object_trace_is_on() && !(mal_thread.flags & (MAL_THREAD_OWN | MAL_THREAD_BUSY));
}

bool mal_object_trace_alloc(const void *object, size_t bytes) {
    if (!is_programs_own_doing())
        return false;
    put_event("tracealloc", object, bytes);
    return true;
}

void mal_object_trace_free(const void *object, size_t bytes) {
    if (is_programs_own_doing())
        put_event("tracefree", object, bytes);
}
