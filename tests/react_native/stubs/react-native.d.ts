// A stub: of react-native's types only what export/react_native uses, as react-native 0.88.1 declares it, in short.

declare const require: (name: string) => number;
declare function setTimeout(call: () => void, ms: number): number;

declare module 'react-native' {
  import type { ComponentType, ReactNode } from 'react';

  interface Style {
    readonly flex?: number;
    readonly gap?: number;
    readonly padding?: number;
    readonly paddingTop?: number;
    readonly width?: number | `${number}%`;
    readonly height?: number;
    readonly minHeight?: number;
    readonly fontSize?: number;
    readonly fontWeight?: '400' | '600';
    readonly borderWidth?: number;
    readonly borderRadius?: number;
    readonly borderColor?: string;
    readonly color?: string;
    readonly backgroundColor?: string;
    readonly flexDirection?: 'row' | 'column';
    readonly justifyContent?: 'space-between';
    readonly textAlignVertical?: 'top';
  }
  type Styled = Style | false | undefined | readonly Styled[];
  interface Props {
    readonly children?: ReactNode;
    readonly style?: Styled;
    readonly accessible?: boolean;
    readonly accessibilityLabel?: string;
    readonly accessibilityRole?: 'header';
    readonly accessibilityLiveRegion?: 'polite';
  }

  export const View: ComponentType<Props>;
  export const Text: ComponentType<Props>;
  export const ScrollView: ComponentType<Props & { contentContainerStyle?: Styled; keyboardShouldPersistTaps?: 'handled' }>;
  export const TextInput: ComponentType<Props & { multiline?: boolean; value?: string; onChangeText?: (text: string) => void }>;
  export const StyleSheet: { create<T extends Readonly<Record<string, Style>>>(styles: T): T };
  export function useColorScheme(): 'light' | 'dark' | 'unspecified' | null | undefined;
}
