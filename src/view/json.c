/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer of JSON. Whole numbers are written without printf: a profile of ten thousand stacks
 * holds a million of them.
 */
#include "view/json.h"

#include "view/number.h"

#include <math.h>
#include <string.h>

#define DIGITS_MAX 20

static void begin_value(struct view_json *json, const char *key) {
    if (json->more)
        view_buffer_append(json->out, ",", 1);
    json->more = true;
    if (key == NULL)
        return;
    view_buffer_append(json->out, "\"", 1);
    view_buffer_text(json->out, key);
    view_buffer_append(json->out, "\":", 2);
}

static void open_container(struct view_json *json, const char *key, const char *bracket) {
    begin_value(json, key);
    view_buffer_append(json->out, bracket, 1);
    json->more = false;
}

static void close_container(struct view_json *json, const char *bracket) {
    view_buffer_append(json->out, bracket, 1);
    json->more = true;
}

void view_json_object(struct view_json *json, const char *key) {
    open_container(json, key, "{");
}

void view_json_object_end(struct view_json *json) {
    close_container(json, "}");
}

void view_json_array(struct view_json *json, const char *key) {
    open_container(json, key, "[");
}

void view_json_array_end(struct view_json *json) {
    close_container(json, "]");
}

static void append_digits(struct view_buffer *out, uint64_t value) {
    char digits[DIGITS_MAX];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    view_buffer_append(out, digits + at, sizeof(digits) - at);
}

void view_json_unsigned(struct view_json *json, const char *key, uint64_t value) {
    begin_value(json, key);
    append_digits(json->out, value);
}

void view_json_signed(struct view_json *json, const char *key, int64_t value) {
    begin_value(json, key);
    if (value < 0)
        view_buffer_append(json->out, "-", 1);
    append_digits(json->out, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void view_json_real(struct view_json *json, const char *key, double value) {
    char text[VIEW_NUMBER_BYTES] = "null";
    if (isfinite(value))
        view_shortest(value, text);
    begin_value(json, key);
    view_buffer_text(json->out, text);
}

void view_json_bool(struct view_json *json, const char *key, bool value) {
    begin_value(json, key);
    view_buffer_text(json->out, value ? "true" : "false");
}

void view_json_null(struct view_json *json, const char *key) {
    begin_value(json, key);
    view_buffer_text(json->out, "null");
}

void view_json_known(struct view_json *json, const char *key, uint64_t value, uint64_t unknown) {
    if (value == unknown)
        view_json_null(json, key);
    else
        view_json_unsigned(json, key, value);
}

void view_json_bytes(struct view_json *json, const char *key, const char *text, size_t bytes) {
    begin_value(json, key);
    view_buffer_append(json->out, "\"", 1);
    view_buffer_json(json->out, text, bytes);
    view_buffer_append(json->out, "\"", 1);
}

void view_json_text(struct view_json *json, const char *key, const char *text) {
    view_json_bytes(json, key, text, strlen(text));
}
