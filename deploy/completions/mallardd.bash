# SPDX-License-Identifier: Apache-2.0
#
# Completion of mallardd(8) for bash: it is in the file of mallard(1), beside this one.
for _mallard_file in "${BASH_SOURCE[0]%/*}"/mallard{,.bash}; do
    # shellcheck disable=SC1090
    [[ -r $_mallard_file ]] && . "$_mallard_file" && break
done
unset _mallard_file
