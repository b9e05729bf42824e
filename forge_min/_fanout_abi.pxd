# Python's C API, also its stable part (PEP 384), with which one file is for every Python from 3.11
# on. In the stable part the fast macros are functions, and texts are available as UTF-8 only. Part
# of _fanout.pyx.

cdef extern from *:
    """
    #ifdef Py_LIMITED_API
    #undef PyBytes_AS_STRING
    #undef PyBytes_GET_SIZE
    #undef PyByteArray_AS_STRING
    #undef PyByteArray_GET_SIZE
    #undef PyFloat_AS_DOUBLE
    #undef PyTuple_GET_ITEM
    #define PyBytes_AS_STRING PyBytes_AsString
    #define PyBytes_GET_SIZE PyBytes_Size
    #define PyByteArray_AS_STRING PyByteArray_AsString
    #define PyByteArray_GET_SIZE PyByteArray_Size
    #define PyFloat_AS_DOUBLE PyFloat_AsDouble
    #define PyTuple_GET_ITEM PyTuple_GetItem

    static const unsigned char* narrow(PyObject* text, Py_ssize_t* size) {
        const char* at = PyUnicode_AsUTF8AndSize(text, size);
        if (at == NULL) {  /* half a surrogate pair */
            PyErr_Clear();
            return NULL;
        }
        return PyUnicode_GetLength(text) == *size ? (const unsigned char*)at : NULL;
    }

    static int read_moment(PyObject* moment, int* parts) {
        static const char* const names[] = {
            "year", "month", "day", "hour", "minute", "second", "microsecond"
        };
        static PyObject* interned[7];
        for (int n = 0; n < 7; n++) {
            PyObject* value;
            if (interned[n] == NULL) interned[n] = PyUnicode_InternFromString(names[n]);
            if (interned[n] == NULL) return -1;
            value = PyObject_GetAttr(moment, interned[n]);
            if (value == NULL) return -1;
            parts[n] = (int)PyLong_AsLong(value);
            Py_DECREF(value);
        }
        return 0;
    }
    #else
    #include <datetime.h>

    static const unsigned char* narrow(PyObject* text, Py_ssize_t* size) {
        if (PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND) return NULL;
        *size = PyUnicode_GET_LENGTH(text);
        return PyUnicode_1BYTE_DATA(text);
    }

    static int read_moment(PyObject* moment, int* parts) {
        parts[0] = PyDateTime_GET_YEAR(moment);
        parts[1] = PyDateTime_GET_MONTH(moment);
        parts[2] = PyDateTime_GET_DAY(moment);
        parts[3] = PyDateTime_DATE_GET_HOUR(moment);
        parts[4] = PyDateTime_DATE_GET_MINUTE(moment);
        parts[5] = PyDateTime_DATE_GET_SECOND(moment);
        parts[6] = PyDateTime_DATE_GET_MICROSECOND(moment);
        return 0;
    }
    #endif
    """
    # Return the characters of a text as bytes, if each is one byte: ASCII, and Latin-1 outside the
    # stable part. Else return NULL. Raises nothing.
    const unsigned char* narrow(object text, Py_ssize_t* size)
    # Write year to microsecond of a datetime into seven ints.
    int read_moment(object moment, int* parts) except -1
