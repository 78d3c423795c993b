/* SPDX-License-Identifier: Apache-2.0
 *
 * The last words: one sentence to standard error, in one write, then abort.
 *
 * Also the warnings that knobs and fallbacks give. Neither allocates, locks nor touches stdio, so
 * both may be called from anywhere, however broken the process is. errno is left alone.
 *
 * SYNCHRONIZATION. None: a write is whole.
 */
#include "base/check.h"
#include "base/format.h"
#include "os/kernel.h"
#include "os/say.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SENTENCE_BYTES 512

/* For threads with descriptors of their own (os/written.h): through the table that the process's
 * first thread has. */
static void write_elsewhere(const char *text, size_t bytes) {
    int fd = mal_file_open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    mal_syscall(SYS_write, fd, text, bytes);
    mal_file_close(fd);
}

void mal_write_error(const char *text, size_t bytes) {
    if (mal_syscall(SYS_write, STDERR_FILENO, text, bytes) == -EBADF)
        write_elsewhere(text, bytes);
}

const char *mal_error_text(int error) {
    const char *text = strerrordesc_np(error);
    return text ? text : "unknown error";
}

/* What a knob says stays one line, and tells a terminal nothing. */
static void defuse(char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            text[i] = '?';
}

static void say(const char *format, va_list arguments) {
    char line[SENTENCE_BYTES];
    size_t length = mal_format(line, sizeof line - 1, "mallard: ");
    length += mal_vformat(line + length, sizeof line - 1 - length, format, arguments);
    defuse(line, length);
    line[length++] = '\n';
    mal_write_error(line, length);
}

void mal_warn(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
}

void mal_die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    abort();
}
