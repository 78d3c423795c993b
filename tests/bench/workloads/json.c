/* SPDX-License-Identifier: Apache-2.0
 *
 * Documents: a JSON text is made, parsed into a tree of malloc'ed values, read, and taken down.
 *
 * Strings of their exact length, arrays that double, short-lived trees of some thousand blocks.
 */
#include "load.h"

enum { DOCUMENTS = 4000, TEXT_MOST = 1 << 20, FIELDS = 12, RECORDS = 400 };

enum kind { NUMBER, STRING, LIST };

struct value {
    enum kind kind;
    size_t count, room;
    char *text;
    struct value **item;
};

static char text[TEXT_MOST];

static void compose(uint64_t *seed) {
    char *at = text;
    *at++ = '[';
    for (int r = 0; r < RECORDS; r++) {
        *at++ = '[';
        for (int f = 0; f < FIELDS; f++) {
            if (f % 3 == 0)
                at += sprintf(at, "%zu,", random_below(seed, 1000000));
            else
                at += sprintf(at, "\"%.*s\",", (int)random_below(seed, 60),
                              "the quick brown fox jumps over the lazy dog and runs away home");
        }
        *at++ = ']';
        *at++ = ',';
    }
    strcpy(at, "]");
}

static struct value *new_value(enum kind kind) {
    struct value *value = not_null(calloc(1, sizeof *value));
    value->kind = kind;
    return value;
}

static struct value *text_value(enum kind kind, const char *start, size_t bytes) {
    struct value *value = new_value(kind);
    value->text = not_null(malloc(bytes + 1));
    memcpy(value->text, start, bytes);
    value->text[bytes] = 0;
    return value;
}

static void append(struct value *list, struct value *item) {
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 4;
        list->item = not_null(realloc(list->item, list->room * sizeof(struct value *)));
    }
    list->item[list->count++] = item;
}

static struct value *parse(const char **at) {
    const char *start = *at;
    if (*start == '"') {
        const char *close = strchr(start + 1, '"');
        *at = close + 1;
        return text_value(STRING, start + 1, (size_t)(close - start - 1));
    }
    if (*start != '[') {
        size_t digits = strspn(start, "0123456789");
        *at = start + digits;
        return text_value(NUMBER, start, digits);
    }
    struct value *list = new_value(LIST);
    for (++*at; **at != ']'; *at += **at == ',')
        append(list, parse(at));
    ++*at;
    return list;
}

static uint64_t end(struct value *value) {
    uint64_t sum = value->kind == STRING ? strlen(value->text) : 0;
    sum += value->kind == NUMBER ? (uint64_t)atol(value->text) : 0;
    for (size_t i = 0; i < value->count; i++)
        sum += end(value->item[i]);
    free(value->item);
    free(value->text);
    free(value);
    return sum;
}

int main(int argc, char **argv) {
    uint64_t seed = 404, sum = 0;
    size_t documents = scaled(argc, argv, DOCUMENTS);
    for (size_t i = 0; i < documents; i++) {
        if (i % 50 == 0)
            compose(&seed);
        const char *at = text;
        sum += end(parse(&at));
    }
    return result(sum);
}
