// Write a text, and see the model's answer as you type.
import { useEffect, useMemo, useRef, useState } from 'react';
import { ScrollView, StyleSheet, Text, TextInput, useColorScheme, View } from 'react-native';
import { type Answered, startAnswering } from './answering';
import type { Answer, Label } from './core/answer';
import { type Part, partsOf, spoken } from './pieces';
import { type BundledModel, type Memory, TextModel } from './text_model';

const SHOWN = 5;
const BOXES: Readonly<Record<string, readonly string[]>> = { question_answering: ['Question', 'Context'] };

/** memory: keeps from one start to the next that the golden answers passed. */
export function AnswerScreen({ bundled, memory }: { bundled: BundledModel; memory: Memory }) {
  const colors = useColorScheme() === 'dark' ? DARK : LIGHT;
  const { model, told } = useModel(bundled, memory);
  const [texts, setTexts] = useState(['', '']);
  const { found, fault } = useAnswer(model, texts);
  const asked = model === null ? [] : texts.slice(0, model.manifest.texts);
  const change = (place: number) => (text: string) => setTexts((old) => old.map((each, at) => (at === place ? text : each)));
  return (
    <ScrollView style={{ backgroundColor: colors.back }} contentContainerStyle={styles.screen} keyboardShouldPersistTaps="handled">
      {model !== null && <Text accessibilityRole="header" style={[styles.title, { color: colors.ink }]}>{model.manifest.name}</Text>}
      {model !== null && <Text style={{ color: colors.faint }}>{model.manifest.description}</Text>}
      {asked.map((text, place) => (
        <Box key={place} name={nameOf(model, place)} text={text} onChange={change(place)} colors={colors} />
      ))}
      {found !== null && <Found found={found} colors={colors} />}
      <Text accessibilityLiveRegion="polite" style={{ color: colors.faint }}>{fault ?? (found === null ? told : footer(found))}</Text>
    </ScrollView>
  );
}

/** The model once it is open and trusted; until then, or where it never is, what there is to say. */
function useModel(bundled: BundledModel, memory: Memory): { model: TextModel | null; told: string } {
  const [model, setModel] = useState<TextModel | null>(null);
  const [told, setTold] = useState('Opening the model…');
  useEffect(() => {
    let here = true;
    const tell = (words: string) => here && setTold(words);
    TextModel.open(bundled, memory, (done, all) => tell(`Checking the model: ${done} of ${all} texts`))
      .then((opened) => {
        if (!here) return;
        setModel(opened);
        setTold('Ready. Nothing you write leaves this device.');
      })
      .catch((error: Error) => tell(error.message));
    return () => {
      here = false;
    };
  }, [bundled, memory]);
  return { model, told };
}

/** The answer to the newest texts; while the model is at work only the newest wait. */
function useAnswer(model: TextModel | null, texts: readonly string[]): { found: Answered | null; fault: string | null } {
  const [state, setState] = useState<{ found: Answered | null; fault: string | null }>({ found: null, fault: null });
  const here = useRef(true);
  useEffect(() => {
    here.current = true;
    return () => {
      here.current = false;
    };
  }, []);
  const ask = useMemo(
    () =>
      model === null
        ? null
        : startAnswering(
            model,
            (found) => here.current && setState({ found, fault: null }),
            (error) => here.current && setState({ found: null, fault: error.message }),
          ),
    [model],
  );
  useEffect(() => ask?.(texts), [ask, texts]);
  return state;
}

function Box({ name, text, onChange, colors }: { name: string; text: string; onChange: (text: string) => void; colors: Colors }) {
  return (
    <View>
      <Text style={{ color: colors.faint }}>{name}</Text>
      <TextInput
        accessibilityLabel={name}
        multiline
        value={text}
        onChangeText={onChange}
        style={[styles.box, { color: colors.ink, borderColor: colors.faint }]}
      />
    </View>
  );
}

function Found({ found: { answer, texts }, colors }: { found: Answered; colors: Colors }) {
  const parts = partsOf(answer, texts[texts.length - 1]);
  return (
    <View style={styles.found}>
      {parts.length > 0 && <Marked parts={parts} colors={colors} />}
      {answer.kind === 'labels' && shown(answer).map((label) => <Share key={label.name} label={label} colors={colors} />)}
      {answer.kind !== 'labels' && <Text style={[styles.told, { color: colors.ink }]}>{words(answer)}</Text>}
    </View>
  );
}

/** Those that are given, and the most probable. */
function shown({ ranked }: Answer & { kind: 'labels' }): Label[] {
  return ranked.filter(({ given }, rank) => given || rank < SHOWN);
}

function words(answer: Exclude<Answer, { kind: 'labels' }>): string {
  if (answer.kind === 'number') return answer.value.toFixed(3);
  if (answer.kind === 'span') return answer.text ? `${answer.text} (${(100 * answer.score).toFixed(0)} %)` : 'No answer found';
  return answer.entities.map(({ label, text }) => `${label}: ${text}`).join('\n') || 'Nothing found';
}

function Marked({ parts, colors }: { parts: readonly Part[]; colors: Colors }) {
  return (
    <Text accessibilityLabel={spoken(parts)} style={[styles.told, { color: colors.ink }]}>
      {parts.map(({ text, label }, place) => (
        <Text key={place} style={label === null ? undefined : { backgroundColor: colors.mark }}>
          {label ? `${text} [${label}]` : text}
        </Text>
      ))}
    </Text>
  );
}

function Share({ label: { name, probability, given }, colors }: { label: Label; colors: Colors }) {
  const percent = `${(100 * probability).toFixed(1)} %`;
  return (
    <View accessible accessibilityLabel={`${name}, ${percent}${given ? ', given' : ''}`}>
      <View style={styles.row}>
        <Text style={[given && styles.given, { color: colors.ink }]}>{name}</Text>
        <Text style={{ color: colors.faint }}>{percent}</Text>
      </View>
      <View style={[styles.bar, { width: `${100 * probability}%`, backgroundColor: given ? colors.bar : colors.faint }]} />
    </View>
  );
}

function nameOf(model: TextModel | null, place: number): string {
  const own = BOXES[model?.manifest.kind ?? ''];
  return own?.[place] ?? (model?.manifest.texts === 1 ? 'Text' : `Text ${place + 1}`);
}

function footer({ tokens, truncated, tokenizationMs, inferenceMs }: Answered): string {
  return `${tokens} tokens${truncated ? ", cut to the model's length" : ''}; tokenizer ${tokenizationMs} ms, model ${inferenceMs} ms, on this device`;
}

interface Colors {
  readonly back: string;
  readonly ink: string;
  readonly faint: string;
  readonly bar: string;
  readonly mark: string;
}

const LIGHT: Colors = { back: '#ffffff', ink: '#1b1b1f', faint: '#5f6368', bar: '#1a6b4f', mark: '#cdeede' };
const DARK: Colors = { back: '#1b1b1f', ink: '#ececf0', faint: '#a5a9b0', bar: '#6fcfa8', mark: '#1f5a44' };

const styles = StyleSheet.create({
  screen: { padding: 16, gap: 12 },
  title: { fontSize: 22, fontWeight: '600' },
  box: { borderWidth: 1, borderRadius: 8, padding: 10, minHeight: 64, fontSize: 16, textAlignVertical: 'top' },
  found: { gap: 8 },
  told: { fontSize: 16 },
  row: { flexDirection: 'row', justifyContent: 'space-between' },
  given: { fontWeight: '600' },
  bar: { height: 4, borderRadius: 2 },
});
