# SPDX-License-Identifier: Apache-2.0
#
# Completion of mallard(1) and mallardd(8) for bash. Installed as
# $PREFIX/share/bash-completion/completions/mallard.
#
# Needs nothing of the bash-completion package. Per command: its options; what an option's value
# is; what its arguments are. Processes are those that `mallard ps` lists, with `-a` where a dead
# one will do.

_mallard_commands="run ps top stat heap allocs diff report trace check help"

_mallard_options() {
    case $1 in
    run) echo "--http --token-file --insecure --keep --quiet -q --help" ;;
    ps) echo "--all -a --keep --help" ;;
    top) echo "--rounds -n --delay -d --sort --keep --help" ;;
    stat) echo "--json --keep --help" ;;
    heap | allocs) echo "--output -o --text --keep --help" ;;
    diff) echo "--output -o --type --top --keep --help" ;;
    report) echo "--output -o --keep --help" ;;
    trace) echo "--follow -f --keep --help" ;;
    check) echo "--help" ;;
    esac
}

_mallard_pids() {
    "${COMP_WORDS[0]}" ps "$@" 2>/dev/null | while IFS=' ' read -r pid _; do
        case $pid in
        *[!0-9]* | "") ;;
        *) echo "$pid" ;;
        esac
    done
}

# What is left of the words that begin with $1, one a line; sets COMPREPLY.
_mallard_reply() {
    local IFS=$'\n'
    # shellcheck disable=SC2207 # one candidate a line
    COMPREPLY=($(compgen -W "${2//[[:space:]]/$'\n'}" -- "$1"))
}

_mallard_files() {
    local IFS=$'\n'
    # shellcheck disable=SC2207
    COMPREPLY=($(compgen "$1" -- "$2"))
    compopt -o filenames 2>/dev/null || true
}

# Processes, and files beside them.
_mallard_reply_process() {
    local IFS=$'\n'
    # shellcheck disable=SC2207
    COMPREPLY=($(compgen -W "$(_mallard_pids "${@:2}")" -- "$1") $(compgen -f -- "$1"))
    compopt -o filenames 2>/dev/null || true
}

# The value of the option $2 of command $1; fails for an option without one.
_mallard_value() {
    case $1:$2 in
    run:--http) _mallard_reply "$3" "off 127.0.0.1:6060 127.0.0.1:0 unix:" ;;
    top:--sort) _mallard_reply "$3" "pid rss live growth alloc objects caches free command flat cum function" ;;
    diff:--type) _mallard_reply "$3" "inuse_space inuse_objects alloc_space alloc_objects" ;;
    *:--keep) _mallard_files -d "$3" ;;
    run:--token-file | *:--output | heap:-o | allocs:-o | diff:-o | report:-o) _mallard_files -f "$3" ;;
    top:--rounds | top:-n | top:--delay | top:-d | diff:--top | diff:-top) COMPREPLY=() ;;
    *) return 1 ;;
    esac
}

_mallard_argument() {
    case $1 in
    run) _mallard_files -c "$2" ;;
    check) _mallard_reply_process "$2" ;;
    top | stat | heap | allocs | trace | report | diff) _mallard_reply_process "$2" -a ;;
    help) _mallard_reply "$2" "${_mallard_commands% help}" ;;
    esac
}

# The program behind `run`, and what follows it, is completed as its own.
_mallard_run_program() {
    local at
    for ((at = 2; at < COMP_CWORD; at++)); do
        case ${COMP_WORDS[at]} in
        --) return 0 ;;
        --http | --token-file | --keep) ((at++)) ;;
        -*) ;;
        *) return 0 ;;
        esac
    done
    return 1
}

_mallard() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[1]}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        _mallard_reply "$current" "$_mallard_commands --help --version"
    elif [[ $command == run ]] && _mallard_run_program; then
        if [[ $before == -- ]]; then
            _mallard_files -c "$current"
        else
            _mallard_files -f "$current"
        fi
    elif _mallard_value "$command" "$before" "$current"; then
        return
    elif [[ $current == -* ]]; then
        _mallard_reply "$current" "$(_mallard_options "$command")"
    else
        _mallard_argument "$command" "$current"
    fi
}

_mallardd() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    case $before in
    --dir | --keep) _mallard_files -d "$current" ;;
    --socket | --token-file | --config | --tls-cert | --tls-key) _mallard_files -f "$current" ;;
    --http) _mallard_reply "$current" "off 127.0.0.1:6060 127.0.0.1:0 :6060" ;;
    --keep-bytes) _mallard_reply "$current" "64MiB 256MiB 1GiB" ;;
    --keep-every | --keep-for) ;;
    *) _mallard_reply "$current" "--http --socket --dir --keep --keep-bytes --keep-every --keep-for --token-file --tls-cert --tls-key --insecure --config --help --version" ;;
    esac
}

complete -F _mallard mallard
complete -F _mallardd mallardd
