package main

import (
	"encoding/json"
	"fmt"
	"os"
)

var tag = os.Getenv("CLIENT_TAG")

type step func() error

type report struct {
	Feature string `json:"feature"`
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"`
}

// feature runs the steps and prints the line that the frame reads; said is how it was done.
func feature(name, said string, steps ...step) {
	result := report{name, true, said}
	for _, run := range steps {
		if err := run(); err != nil {
			result = report{name, false, err.Error()}
			break
		}
	}
	line, err := json.Marshal(result)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func equal(expected, actual interface{}) error {
	if fmt.Sprint(expected) != fmt.Sprint(actual) {
		return fmt.Errorf("expected %v, got %v", expected, actual)
	}
	return nil
}

// all gives the first of the errors.
func all(errors ...error) error {
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}

// state wants the error to have that SQLSTATE, as the driver tells it.
func state(expected string, err error, sqlstate func(error) string) error {
	if err == nil {
		return fmt.Errorf("no error, expected %s", expected)
	}
	if actual := sqlstate(err); actual != expected {
		return fmt.Errorf("expected %s, got %s: %w", expected, actual, err)
	}
	return nil
}
