/* SPDX-License-Identifier: Apache-2.0
 *
 * A writer of JSON: it places the commas and escapes the texts. Nesting is the caller's: every open
 * has its close. `key` is NULL inside arrays. Keys are names of ours and written as they are.
 */
#ifndef MAL_VIEW_JSON_H
#define MAL_VIEW_JSON_H

#include "view/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct view_json {
    struct view_buffer *out;
    bool more; /* the next value is not the first of its container */
};

void view_json_object(struct view_json *json, const char *key);
void view_json_object_end(struct view_json *json);
void view_json_array(struct view_json *json, const char *key);
void view_json_array_end(struct view_json *json);

void view_json_unsigned(struct view_json *json, const char *key, uint64_t value);
void view_json_signed(struct view_json *json, const char *key, int64_t value);
/* Infinities and NaN become null. */
void view_json_real(struct view_json *json, const char *key, double value);
void view_json_bool(struct view_json *json, const char *key, bool value);
void view_json_null(struct view_json *json, const char *key);
/* The value, or null where it is `unknown`. */
void view_json_known(struct view_json *json, const char *key, uint64_t value, uint64_t unknown);
void view_json_text(struct view_json *json, const char *key, const char *text);
void view_json_bytes(struct view_json *json, const char *key, const char *text, size_t bytes);

#endif
