/* SPDX-License-Identifier: Apache-2.0
 *
 * A small program with memory to ask about: `make demo` shows its functions, files and lines.
 *
 * Three kinds of memory that a profile must tell apart: an index that lives on (two call sites,
 * one of them inlined into its caller), requests that come and go (much allocated, nothing in
 * use), and a log that doubles with realloc. Then it prints "ready" and waits for SIGTERM, SIGINT
 * or the end of its standard input.
 */
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INLINED static inline __attribute__((always_inline))
#define OUTLINED static __attribute__((noinline))

enum { ENTRIES = 60000, ENTRY_BYTES = 200, REQUESTS = 150000, REQUEST_BYTES = 1400, LINES = 40000 };

struct entry {
    struct entry *next;
    char *name;
    char body[ENTRY_BYTES];
};

struct log {
    char *text;
    size_t bytes, capacity;
};

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

static void *or_die(void *memory) {
    if (!memory)
        abort();
    return memory;
}

/* Inlined: a profile shows it as a frame of its own above index_insert all the same. */
INLINED char *copy_name(unsigned number) {
    char *name = or_die(malloc(64));
    snprintf(name, 64, "entry-%u", number);
    return name;
}

INLINED struct entry *new_entry(void) {
    return or_die(calloc(1, sizeof(struct entry)));
}

OUTLINED struct entry *index_insert(struct entry *head, unsigned number) {
    struct entry *entry = new_entry();
    entry->name = copy_name(number);
    entry->next = head;
    return entry;
}

OUTLINED struct entry *build_index(void) {
    struct entry *head = NULL;
    for (unsigned i = 0; i < ENTRIES; i++)
        head = index_insert(head, i);
    return head;
}

OUTLINED size_t handle_request(unsigned number) {
    char *buffer = or_die(malloc(REQUEST_BYTES));
    memset(buffer, (int)number, REQUEST_BYTES);
    size_t answer = (unsigned char)buffer[number % REQUEST_BYTES];
    free(buffer);
    return answer;
}

OUTLINED size_t serve_requests(void) {
    size_t sum = 0;
    for (unsigned i = 0; i < REQUESTS; i++)
        sum += handle_request(i);
    return sum;
}

OUTLINED void grow_log(struct log *log, size_t more) {
    while (log->capacity < log->bytes + more) {
        log->capacity = log->capacity ? 2 * log->capacity : 4096;
        log->text = or_die(realloc(log->text, log->capacity));
    }
}

OUTLINED void write_log(struct log *log) {
    static const char line[] = "a request was served, and this line of the log tells about it\n";
    for (unsigned i = 0; i < LINES; i++) {
        grow_log(log, sizeof line);
        memcpy(log->text + log->bytes, line, sizeof line - 1);
        log->bytes += sizeof line - 1;
    }
}

/* Until a signal, or until standard input ends. */
static void wait_for_end(void) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;
    while (!stopped && poll(&input, 1, 1000) >= 0)
        if (input.revents && read(STDIN_FILENO, &byte, 1) <= 0)
            return;
}

int main(void) {
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    struct entry *index = build_index();
    struct log log = {0};
    size_t sum = serve_requests();
    write_log(&log);
    printf("ready\n");
    fflush(stdout);
    wait_for_end();
    fprintf(stderr, "%s, %zu, %zu\n", index->name, sum, log.bytes);
    return 0;
}
