/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines on standard error. One write each, so that lines of several threads do not mix; control
 * characters of foreign texts (paths, names) become question marks, so that a process's name cannot
 * forge a line of the journal.
 *
 * SYNCHRONIZATION  `lock` guards `last`. Any thread may speak.
 */
#include "daemon/say.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 1024

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char last[DAEMON_COMPLAINTS][LINE_BYTES]; /* lock; "" when content */

static void format_line(char line[LINE_BYTES], const char *format, va_list arguments) {
    int head = snprintf(line, LINE_BYTES, "mallardd: ");
    vsnprintf(line + head, LINE_BYTES - (size_t)head - 1, format, arguments);
    size_t bytes = strlen(line);
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    line[bytes] = '\n';
    line[bytes + 1 < LINE_BYTES ? bytes + 1 : bytes] = '\0';
}

static void put_line(const char *line) {
    size_t bytes = strnlen(line, LINE_BYTES);
    while (bytes > 0) {
        ssize_t put = write(STDERR_FILENO, line, bytes);
        if (put <= 0)
            return;
        line += put;
        bytes -= (size_t)put;
    }
}

void daemon_say(const char *format, ...) {
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    format_line(line, format, arguments);
    va_end(arguments);
    put_line(line);
}

void daemon_complain(enum daemon_complaint kind, const char *format, ...) {
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    format_line(line, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&lock);
    bool news = strncmp(last[kind], line, LINE_BYTES) != 0;
    if (news)
        memcpy(last[kind], line, LINE_BYTES);
    pthread_mutex_unlock(&lock);
    if (news)
        put_line(line);
}

void daemon_content(enum daemon_complaint kind) {
    pthread_mutex_lock(&lock);
    last[kind][0] = '\0';
    pthread_mutex_unlock(&lock);
}
