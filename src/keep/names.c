/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of folders and profiles, made and taken apart. A name counts when it is exactly what would
 * have been made for what it says; so one thing has one name, and nothing else in the folder is
 * ever read, counted or removed.
 */
#include "keep/keep_private.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

const char *keep_parse_number(const char *text, char end, uint64_t *ret_value) {
    uint64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return NULL;
    }
    if (at == text || *at != end || (text[0] == '0' && at > text + 1))
        return NULL;
    *ret_value = value;
    return at + 1;
}

static bool is_boot(const char *text) {
    return strspn(text, "0123456789abcdef") == KEEP_BOOT_BYTES - 1 &&
           text[KEEP_BOOT_BYTES - 1] == '\0';
}

void keep_boot(char ret_boot[KEEP_BOOT_BYTES]) {
    char text[KEEP_BOOT_BYTES] = "";
    int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, KEEP_BOOT_BYTES - 1) : -1;
    if (fd >= 0)
        close(fd);
    bool good = got == KEEP_BOOT_BYTES - 1 && is_boot(text);
    memcpy(ret_boot, good ? text : "00000000", KEEP_BOOT_BYTES);
}

void keep_folder_name(const struct keep_facts *facts, char ret_name[KEEP_FOLDER_NAME_BYTES]) {
    snprintf(ret_name, KEEP_FOLDER_NAME_BYTES, "%" PRIu32 ".%" PRIu64 ".%s", facts->pid,
             facts->start_ticks, facts->boot);
}

bool keep_folder_parse(const char *name, struct keep_facts *facts) {
    uint64_t pid, ticks;
    const char *at = keep_parse_number(name, '.', &pid);
    if (at)
        at = keep_parse_number(at, '.', &ticks);
    if (!at || pid == 0 || pid > INT32_MAX || !is_boot(at))
        return false;
    facts->pid = (uint32_t)pid;
    facts->start_ticks = ticks;
    memcpy(facts->boot, at, KEEP_BOOT_BYTES);
    return true;
}

void keep_profile_name(uint64_t unix_s, char ret_name[KEEP_FILE_NAME_BYTES]) {
    snprintf(ret_name, KEEP_FILE_NAME_BYTES, "heap.%" PRIu64 ".pb.gz", unix_s);
}

bool keep_profile_parse(const char *name, uint64_t *ret_unix_s) {
    if (strncmp(name, "heap.", 5) != 0)
        return false;
    const char *at = keep_parse_number(name + 5, '.', ret_unix_s);
    return at && strcmp(at, "pb.gz") == 0;
}

bool keep_is_new(const char *name) {
    return strncmp(name, KEEP_NEW, sizeof(KEEP_NEW) - 1) == 0;
}
