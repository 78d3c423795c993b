/* SPDX-License-Identifier: Apache-2.0
 *
 * What the process can find out about itself without allocating.
 *
 * Files are opened close-on-exec, read once and closed at once, so that no descriptor of ours is
 * ever there for the program to trip over. All calls keep errno.
 *
 * SYNCHRONIZATION. None: reads what the kernel tells, and the environment, which is the program's.
 */
#include "os/env.h"

#include "base/bits.h"
#include "base/format.h"
#include "os/clock.h"
#include "os/confined.h"
#include "os/kernel.h"
#include "os/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

bool mal_env_ready(void) {
    return environ != NULL;
}

const char *mal_env(const char *name) {
    return environ ? getenv(name) : NULL;
}

bool mal_process_is_secure(void) {
    return getauxval(AT_SECURE) != 0;
}

#define ENVIRON_BYTES (256u << 10) /* of the parent's that are looked at */

static bool environ_has(const char *text, size_t bytes, const char *name, const char *value) {
    size_t name_bytes = strlen(name);
    for (size_t at = 0; at < bytes; at += strnlen(text + at, bytes - at) + 1)
        if (strncmp(text + at, name, name_bytes) == 0 && text[at + name_bytes] == '=')
            return strcmp(text + at + name_bytes + 1, value) == 0;
    return false;
}

bool mal_env_parent_has(const char *name, const char *value) {
    char path[40];
    char *text = mal_vm_map(ENVIRON_BYTES);
    if (!text)
        return false;
    mal_format(path, sizeof path, "/proc/%d/environ", mal_parent_pid());
    long got = mal_read_file(path, text, ENVIRON_BYTES - 1);
    bool found = got > 0 && environ_has(text, (size_t)got, name, value);
    mal_vm_unmap(text, ENVIRON_BYTES);
    return found;
}

uint64_t mal_random_seed(void) {
    const void *kernel_random = (const void *)getauxval(AT_RANDOM);
    uint64_t seed = 0;
    if (kernel_random)
        memcpy(&seed, kernel_random, sizeof seed);
    return mal_mix(seed ^ mal_mix(mal_clock_mono_ns() ^ ((uint64_t)mal_own_pid() << 32)));
}

long mal_read_file(const char *path, char *ret_data, size_t bytes) {
    if (mal_is_confined())
        return -EPERM;
    int fd = mal_file_open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long got = mal_syscall(SYS_read, fd, ret_data, bytes);
    mal_file_close(fd);
    return got;
}

static uint64_t parse_decimal(const char **text) {
    uint64_t value = 0;
    for (; **text >= '0' && **text <= '9'; (*text)++)
        value = value * 10 + (uint64_t)(**text - '0');
    return value;
}

/* Advances to the field `count` blanks further on, or to the end. */
static const char *skip_fields(const char *text, unsigned count) {
    for (; *text && count; text++)
        count -= *text == ' ';
    return text;
}

#define STAT_BYTES 1024

/* Reads /proc/self/stat; where field 2 ends, or NULL. The command may hold blanks and parentheses:
 * later fields are counted from the last ')'. */
static const char *read_own_stat(char text[STAT_BYTES]) {
    long got = mal_read_file("/proc/self/stat", text, STAT_BYTES - 1);
    if (got <= 0)
        return NULL;
    text[got] = '\0';
    return strrchr(text, ')');
}

uint64_t mal_process_start_ticks(void) {
    char text[STAT_BYTES];
    const char *field = read_own_stat(text);
    if (!field)
        return 0;
    field = skip_fields(field, 20);
    return parse_decimal(&field);
}

bool mal_process_is_deserted(unsigned own) {
    char text[STAT_BYTES];
    const char *state = read_own_stat(text);
    if (!state || state[1] != ' ' || state[2] != 'Z')
        return false;
    const char *threads = skip_fields(state, 18); /* field 20 */
    return parse_decimal(&threads) <= own + 1;
}

uint64_t mal_process_resident_bytes(void) {
    char text[128];
    long got = mal_read_file("/proc/self/statm", text, sizeof text - 1);
    if (got <= 0)
        return 0;
    text[got] = '\0';
    const char *field = skip_fields(text, 1);
    return parse_decimal(&field) * mal_vm_page_bytes();
}

#define STATUS_BYTES 4096

/* The number behind a name of /proc/WHO/status, 0 where there is none. */
static uint64_t read_status(const char *who, const char *name) {
    char path[40];
    char text[STATUS_BYTES];
    mal_format(path, sizeof path, "/proc/%s/status", who);
    long got = mal_read_file(path, text, sizeof text - 1);
    text[got > 0 ? got : 0] = '\0';
    const char *field = strstr(text, name);
    if (!field)
        return 0;
    field += strcspn(field, "0123456789");
    return parse_decimal(&field);
}

/* Not ru_maxrss: that one survives exec, and knows how large the program before this one was. */
uint64_t mal_process_max_resident_bytes(void) {
    return read_status("self", "\nVmHWM:") * 1024;
}

unsigned mal_process_filters(const char *who) {
    return (unsigned)read_status(who, "\nSeccomp_filters:");
}
