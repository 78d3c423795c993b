/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzz target without a fuzzer: over the files given as arguments, and with
 * `-random=COUNT[,SEED]` over random changes of them. Prints the name of each file before running
 * it when -v is given, so that the one that crashes is the last one printed.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static uint64_t random_state = 1;

static uint64_t random_word(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state >> 33;
}

static uint8_t *load(const char *path, size_t *ret_bytes) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    size_t capacity = 4096, bytes = 0;
    uint8_t *data = malloc(capacity);
    while (data) {
        bytes += fread(data + bytes, 1, capacity - bytes, file);
        if (bytes < capacity)
            break;
        capacity *= 2;
        data = realloc(data, capacity);
    }
    fclose(file);
    *ret_bytes = bytes;
    return data;
}

/* Changes some bytes in place; small inputs also shrink. */
static size_t mutate(uint8_t *data, size_t bytes) {
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff};
    size_t changes = 1 + random_word() % 8;
    for (size_t i = 0; i < changes && bytes > 0; i++) {
        size_t at = random_word() % bytes;
        data[at] =
            random_word() % 2 ? edges[random_word() % sizeof(edges)] : (uint8_t)random_word();
    }
    if (bytes > 16 && random_word() % 16 == 0)
        bytes -= random_word() % 16;
    return bytes;
}

static bool run_file(const char *path, unsigned long mutations) {
    size_t bytes;
    uint8_t *data = load(path, &bytes);
    if (!data) {
        perror(path);
        return false;
    }
    LLVMFuzzerTestOneInput(data, bytes);
    uint8_t *copy = malloc(bytes + 1);
    for (unsigned long i = 0; copy && i < mutations; i++) {
        memcpy(copy, data, bytes);
        LLVMFuzzerTestOneInput(copy, mutate(copy, bytes));
    }
    free(copy);
    free(data);
    return true;
}

int main(int count, char **arguments) {
    unsigned long mutations = 0;
    bool verbose = false, good = true;
    for (int i = 1; i < count; i++) {
        if (strncmp(arguments[i], "-random=", 8) == 0) {
            char *rest;
            mutations = strtoul(arguments[i] + 8, &rest, 10);
            if (*rest == ',')
                random_state = strtoull(rest + 1, NULL, 10);
        } else if (strcmp(arguments[i], "-v") == 0) {
            verbose = true;
        } else {
            if (verbose)
                printf("%s\n", arguments[i]);
            fflush(stdout);
            good &= run_file(arguments[i], mutations);
        }
    }
    return good ? 0 : 1;
}
