# awk -v out=FOLDER -v version=VERSION -f man.awk noxu_feeder.h: the manual pages in section 3, made of the header, so
# that both say the same. noxu_feeder.3 is its opening comment; each of its sections is a page, named after its first
# type or, without one, its first function; and each function has a page that leads to its section's page.

# A line as roff takes it literally.
function escaped(line) {
    gsub(/\\/, "\\e", line)
    if (line ~ /^[.']/)
        line = "\\&" line
    return line
}

# The text of a comment, kept as lines without their stars.
function comment_line(line) {
    sub(/^ *\/\*\* ?/, "", line)
    sub(/ *\*\/ *$/, "", line)
    sub(/^ *\* ?/, "", line)
    return line
}

# Paragraphs, lists and examples.
function prose(text, count, lines, i, line, result, example, break_due) {
    count = split(text, lines, "\n")
    for (i = 1; i <= count; i++) {
        line = lines[i]
        if (line ~ /^@file/)
            continue
        if (line ~ /^@code/) {
            example = 1
            result = result ".PP\n.RS 4\n.nf\n"
        } else if (line ~ /^@endcode/) {
            example = 0
            result = result ".fi\n.RE\n"
            break_due = 1
        } else if (example) {
            result = result escaped(line) "\n"
        } else if (line ~ /^ *$/) {
            break_due = 1
        } else {
            sub(/^ +/, "", line)
            if (line ~ /^- /) {
                line = substr(line, 3)
                result = result ".IP \\(bu 2\n"
                if (line in page_of)
                    line = line " (" page_of[line] "(3))"
            } else if (break_due && result != "") {
                result = result ".PP\n"
            }
            break_due = 0
            result = result escaped(line) "\n"
        }
    }
    return result
}

function begin_page(file, name, summary, names) {
    printf ".TH %s 3 \"\" \"noxu-feeder %s\" \"noxu-feeder\"\n", toupper(name), version >file
    printf ".SH NAME\n%s%s \\- %s\n", name, names, summary >file
}

function end_section(name, file, i, summary, names, constants) {
    if (heading == "")
        return
    name = first_type != "" ? first_type : first_function
    page_of[heading] = name
    pages[++page_count] = name
    summary = heading
    sub(/^[^:]*: */, "", summary)
    for (i = 1; i <= function_count; i++)
        if (functions[i] != name)
            names = names ", " functions[i]
    file = out "/" name ".3"
    begin_page(file, name, summary, names)
    printf ".SH SYNOPSIS\n.nf\n#include <noxu_feeder.h>\n%s.fi\n.SH DESCRIPTION\n%s", synopsis, description >file
    print ".SH SEE ALSO\n.BR noxu_feeder (3)" >file
    close(file)
    for (i = 1; i <= function_count; i++)
        if (functions[i] != name) {
            print ".so man3/" name ".3" >(out "/" functions[i] ".3")
            close(out "/" functions[i] ".3")
        }
    heading = first_type = first_function = synopsis = description = ""
    function_count = 0
}

# One declaration, whole, with the comment before it.
function declaration(code, said, name, value) {
    if (code ~ /^#define /) {
        name = code
        sub(/^#define /, "", name)
        value = name
        sub(/ .*/, "", name)
        sub(/^[^ ]* */, "", value)
        gsub(/[()\n]/, "", value)
        description = description ".TP\n.BR " name " \" = " value "\"\n" said
        return
    }
    if (code ~ /^typedef /) {
        name = code
        sub(/\n.*/, "", name)
        if (name ~ /\(\*/) {
            sub(/^[^(]*\(\*/, "", name)
            sub(/\).*/, "", name)
        } else if (name ~ /[{]/) {
            sub(/^typedef struct /, "", name)
            sub(/ .*/, "", name)
        } else {
            sub(/;.*/, "", name)
            sub(/^.* /, "", name)
        }
        if (first_type == "" && code !~ /^[^\n]*\(\*/)
            first_type = name
        description = description ".SS " name "\n.nf\n" code ".fi\n.PP\n" said
        return
    }
    name = code
    sub(/\(.*/, "", name)
    sub(/^.*[ *]/, "", name)
    functions[++function_count] = name
    if (first_function == "")
        first_function = name
    synopsis = synopsis "\n" code
    description = description ".SS " name "()\n" said
}

!opened && /^#ifndef/ { opened = 1; opening = comment; comment = "" }
/^\/\* --- / {
    end_section()
    heading = $0
    sub(/^\/\* --- /, "", heading)
    sub(/ -+ \*\/$/, "", heading)
    next
}
# A comment before a declaration. Comments inside a declaration belong to its code.
code == "" && /^\/\*\*/ { inside = 1; comment = "" }
inside {
    comment = comment comment_line($0) "\n"
    if (/\*\/ *$/)
        inside = 0
    next
}
heading == "" || /^#(if|endif)/ || /^}$/ || /^extern / { next }
/^ *$/ && code == "" { next }
{
    code = code escaped($0) "\n"
    depth += gsub(/[{]/, "{") - gsub(/[}]/, "}")
    if (/^#define / || (depth == 0 && /; *$/)) {
        declaration(code, prose(comment))
        code = comment = ""
    }
}
END {
    end_section()
    file = out "/noxu_feeder.3"
    begin_page(file, "noxu_feeder", "feeds replicas of a Noxu DB from its write-ahead log", "")
    print ".SH SYNOPSIS\n.nf\n#include <noxu_feeder.h>\n" >file
    # The text reads on after "name - ".
    sub(/noxu-feeder: reads/, "Reads", opening)
    print "cc host.c $(pkg\\-config \\-\\-cflags \\-\\-libs noxu_feeder)\n.fi\n.SH DESCRIPTION" >file
    printf "%s.SH SEE ALSO\n", prose(opening) >file
    for (i = 1; i <= page_count; i++)
        printf ".BR %s (3)%s\n", pages[i], (i < page_count ? "," : "") >file
}
